//! The ways to RAs. A request reaches an RA at most once: it is tried again only while not a byte of it was written.

mod breaker;
mod health;
mod http;
mod spool;

use std::sync::Arc;

pub(crate) use breaker::BreakerLimits;
pub use health::{Failure, LATENCY_BOUNDS_MS, Latency, RouteView, TargetState, TargetView};
pub(crate) use http::{Http, Limits};
pub use spool::SpoolError;
pub(crate) use spool::{Arrived, Spool, Tag};

/// An RA.
pub(crate) enum Route {
    /// That is asked, and answers.
    Http(Http),
    /// That is reached by files.
    Spool(Arc<Spool>),
}

impl Route {
    pub(crate) fn view(&self, name: cmp_binding::Route) -> RouteView {
        match self {
            Self::Http(http) => RouteView {
                name,
                asking: http.asking(),
                queued: http.queued(),
                deposited: 0,
                targets: http.targets(),
            },
            Self::Spool(spool) => RouteView {
                name,
                asking: 0,
                queued: 0,
                deposited: spool.deposited(),
                targets: vec![spool.view()],
            },
        }
    }
}
