//! The status page: one file, nothing from elsewhere, and a policy that lets only its own script and style run.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use axum::{
    http::{HeaderValue, header},
    response::IntoResponse,
};
use base64ct::{Base64, Encoding as _};

use crate::http::Problem;

const PAGE: &str = include_str!("page.html");

/// The Content-Security-Policy that fits to the page.
static POLICY: LazyLock<Option<HeaderValue>> = LazyLock::new(|| {
    let policy = format!(
        "default-src 'none'; script-src '{}'; style-src '{}'; connect-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        hash_of("script")?,
        hash_of("style")?
    );
    HeaderValue::from_str(&policy).ok()
});

pub(super) async fn page() -> impl IntoResponse {
    let policy = POLICY.clone().ok_or(Problem::Internal)?;
    let headers = [
        (header::CONTENT_SECURITY_POLICY, policy),
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/html; charset=utf-8"),
        ),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    Ok::<_, Problem>((headers, PAGE))
}

/// The hash of the page's one element of this name, as a policy names it.
fn hash_of(element: &str) -> Option<String> {
    let (_, rest) = PAGE.split_once(&format!("<{element}>"))?;
    let (content, _) = rest.split_once(&format!("</{element}>"))?;
    let hash = digest(&SHA256, content.as_bytes());
    Some(format!("sha256-{}", Base64::encode_string(hash.as_ref())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_loads_nothing_and_writes_text_as_text() {
        assert!(POLICY.is_some());
        for forbidden in [
            "http://",
            "https://",
            "//cdn",
            " src=",
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            " onclick",
            " onload",
            " style=",
            "@import",
            "url(",
        ] {
            assert!(!PAGE.contains(forbidden), "{forbidden}");
        }
        assert_eq!(PAGE.matches("<script").count(), 1);
        assert_eq!(PAGE.matches("<style").count(), 1);
    }
}
