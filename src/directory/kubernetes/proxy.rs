//! The proxy before the API server of a kubeconfig.
//!
//! `proxy-url` of the cluster counts for itself alone, as with kubectl. Without it the usual variables
//! count: `https_proxy` or `http_proxy` by the server's scheme, else `all_proxy`, without those that
//! `no_proxy` names. The text of an error repeats none of them, since they may hold a password.

use std::net::IpAddr;

use hyper::Uri;
use hyper_util::client::proxy::matcher::Matcher;

/// The proxy of a cluster's `proxy-url`.
///
/// # Errors
/// It is no URL of a proxy over HTTP.
pub(super) fn of_cluster(url: &str) -> Result<Uri, String> {
    usable(url).ok_or_else(|| "its `proxy-url` is no URL like http://proxy:3128".to_owned())
}

/// The proxy that the variables name for `server`; `variable` returns the value of one. `None`: it is
/// reached directly, as this host always is.
///
/// # Errors
/// The variable that counts names no proxy over HTTP.
pub(super) fn of_variables(
    server: &Uri,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<Uri>, String> {
    let first = |name: &str| {
        let set = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        set(name).or_else(|| set(&name.to_ascii_uppercase()))
    };
    let of_scheme = if server.scheme_str() == Some("http") { "http_proxy" } else { "https_proxy" };
    let named = [of_scheme, "all_proxy"].into_iter().find_map(|name| Some((name, first(name)?)));
    let Some((name, value)) = named.filter(|_| !server.host().is_some_and(is_own)) else {
        return Ok(None);
    };
    let proxy = usable(&value)
        .ok_or_else(|| format!("the variable {name} names no proxy like http://proxy:3128"))?;
    let matcher = Matcher::builder().all(proxy.to_string());
    let matcher = matcher.no(first("no_proxy").unwrap_or_default()).build();
    Ok(matcher.intercept(server).map(|_| proxy))
}

fn usable(url: &str) -> Option<Uri> {
    let url = url.trim();
    let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    let url: Uri = url.parse().ok()?;
    let is_http = matches!(url.scheme_str(), Some("http" | "https"));
    (is_http && url.host().is_some_and(|host| !host.is_empty())).then_some(url)
}

/// True for this host itself, which no proxy could reach.
fn is_own(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost")
        || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(variables: &[(&str, &str)], server: &str) -> Result<Option<String>, String> {
        let of = |name: &str| {
            let found = variables.iter().find(|(other, _)| *other == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let found = of_variables(&server.parse().unwrap(), of)?;
        Ok(found.map(|uri| uri.to_string()))
    }

    #[test]
    fn the_variable_of_the_scheme_counts_and_no_proxy_takes_away() {
        let some = |url: &str| Ok(Some(url.to_owned()));
        let both = [("HTTPS_PROXY", "p:3128"), ("http_proxy", "http://plain:1"), ("all_proxy", "")];
        assert_eq!(proxy(&both, "https://api:6443"), some("http://p:3128/"));
        assert_eq!(proxy(&both, "http://api:8080"), some("http://plain:1/"));
        assert_eq!(proxy(&[("ALL_PROXY", "https://any")], "https://api"), some("https://any/"));
        assert_eq!(proxy(&[], "https://api"), Ok(None));
        for own in ["https://127.0.0.1:6443", "https://[::1]:6443", "https://localhost:6443"] {
            assert_eq!(proxy(&both, own), Ok(None), "{own}");
        }
        let listed = [("https_proxy", "http://p:1"), ("NO_PROXY", "10.0.0.0/8, .lab,example.com,")];
        for direct in ["https://10.96.0.1:443", "https://api.lab:6443", "https://example.com"] {
            assert_eq!(proxy(&listed, direct), Ok(None), "{direct}");
        }
        assert_eq!(proxy(&listed, "https://11.0.0.1"), some("http://p:1/"));
    }

    #[test]
    fn what_is_no_proxy_is_refused_without_its_password() {
        for url in ["socks5://u:hunter2@p:1", "http://u:hunter2@", "a b", "ftp://u:hunter2@p", ""] {
            let error = of_cluster(url).unwrap_err();
            assert!(error.starts_with("its `proxy-url` is no URL"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        let error = proxy(&[("https_proxy", "socks5://u:hunter2@p:1")], "https://a").unwrap_err();
        assert_eq!(error, "the variable https_proxy names no proxy like http://proxy:3128");
        assert_eq!(of_cluster("http://u:hunter2@p:1").unwrap().host(), Some("p"));
    }
}
