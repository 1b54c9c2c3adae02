//! What stands for the RA: answers every POST at once with the same message.

use std::{sync::Arc, time::Instant};

use anyhow::Context;
use axum::{Router, body::Bytes, http::header::CONTENT_TYPE, routing::post};
use cmp_http::{Client, Limits};
use tokio::{net::TcpListener, sync::Semaphore, task::JoinSet};

use super::{REQUEST_BYTES, RESPONSE_BYTES, load::Latency, message};

pub(super) struct StandIn {
    pub(super) url: String,
}

impl StandIn {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let answer = Bytes::from(message(RESPONSE_BYTES));
        let app = Router::new().route(
            "/cmp",
            post(move |_: Bytes| async move { ([(CONTENT_TYPE, "application/pkixcmp")], answer) }),
        );
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/cmp", listener.local_addr()?);
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(Self { url })
    }

    /// The same messages without a bridge.
    pub(super) async fn ask_directly(&self, count: u32, concurrency: u32) -> anyhow::Result<Latency> {
        let client = Arc::new(client(&self.url)?);
        let permits = Arc::new(Semaphore::new(concurrency as usize));
        let mut asked = JoinSet::new();
        for _ in 0..count {
            let permit = Arc::clone(&permits).acquire_owned().await?;
            let client = Arc::clone(&client);
            asked.spawn(async move {
                let begun = Instant::now();
                let answer = client.post(&message(REQUEST_BYTES)).await;
                drop(permit);
                answer.map(|_| begun.elapsed())
            });
        }
        let mut times = Vec::with_capacity(count as usize);
        while let Some(time) = asked.join_next().await {
            times.push(time?.context("the RA itself")?);
        }
        Ok(Latency::of(times))
    }
}

pub(super) fn client(url: &str) -> anyhow::Result<Client> {
    Ok(Client::new(url.parse()?, None, Limits::default())?)
}
