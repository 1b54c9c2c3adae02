//! What a whole enrolment costs, both sides together, by the station's provider.
//!
//!     cargo bench -p charger-sim
#![allow(clippy::unwrap_used, missing_docs)]

use charger_sim::bench::{Enrolment, Provider};
use criterion::{Criterion, criterion_group, criterion_main};

fn enrolment(c: &mut Criterion) {
    let mut group = c.benchmark_group("enrolment");
    for (name, provider) in [("rustcrypto", Provider::Rustcrypto), ("aws-lc", Provider::AwsLc)] {
        let mut enrolment = Enrolment::new(provider).unwrap();
        group.bench_function(name, |b| b.iter(|| enrolment.run().unwrap()));
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(50).without_plots();
    targets = enrolment
}
criterion_main!(benches);
