//! The ways to RAs. A request reaches an RA at most once: it is tried again only while not a byte of it was written.

mod breaker;
mod health;
mod http;

pub(crate) use breaker::BreakerLimits;
pub use health::{Failure, LATENCY_BOUNDS_MS, Latency, RouteView, TargetState, TargetView};
pub(crate) use http::{Http, Limits};

/// An RA.
pub(crate) struct Route {
    pub(crate) http: Http,
}

impl Route {
    pub(crate) fn view(&self, name: cmp_binding::Route) -> RouteView {
        RouteView {
            name,
            asking: self.http.asking(),
            queued: self.http.queued(),
            deposited: 0,
            targets: self.http.targets(),
        }
    }
}
