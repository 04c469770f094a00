//! Pages in a browser, whose SDK speaks to another host than they come from: the browser asks first, and shows a page only what
//! it may see.
//!
//! Any page may, as at the service, because a request is worth what its signature is. Where none are verified every page is refused, as
//! some requests are sent without being asked about: else whatever a person looks at could write to the server on that person's
//! machine.

use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderValue, ORIGIN,
};
use hyper::{Method, Request};

/// What a page is told where no signatures are verified.
pub(super) const NO_PAGES: &str = "This server verifies no signatures, so pages in a browser may not use it; start it with a file of \
                                   credentials (--credentials-file).";

/// How long a browser may rely on what it was told, in seconds.
const MAX_AGE_S: &str = "172800";

/// What a page may see of an answer's head.
const EXPOSED: &str = "x-amzn-RequestId,x-amzn-ErrorType,x-amz-request-id,x-amz-id-2,x-amzn-ErrorMessage,Date";

/// What a page of another host wants.
pub(super) enum Page {
    /// To know whether it may send a request: with these headers, by this method.
    Asks(Option<HeaderValue>, Option<HeaderValue>),
    /// The answer to a request.
    Sends,
}

impl Page {
    /// Whose request it is, if it is a page's.
    pub(super) fn of<B>(request: &Request<B>) -> Option<Page> {
        let header = |name| request.headers().get(name).cloned();
        header(ORIGIN)?;
        Some(match request.method() {
            &Method::OPTIONS => {
                Page::Asks(header(ACCESS_CONTROL_REQUEST_HEADERS), header(ACCESS_CONTROL_REQUEST_METHOD))
            }
            _ => Page::Sends,
        })
    }

    /// Says in an answer's head that it may.
    pub(super) fn allow(self, headers: &mut HeaderMap) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        match self {
            Page::Asks(names, method) => {
                headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE_S));
                names.map(|names| headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, names));
                method.map(|method| headers.insert(ACCESS_CONTROL_ALLOW_METHODS, method));
            }
            Page::Sends => {
                headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
            }
        }
    }
}
