//! Which service a request on the HTTPS port is for.
//!
//! Each service has a host name of its own in Azure; here they share one, so that paths decide, and where paths
//! meet, the scheme of the `Authorization` header: `Bearer` means Azure Digital Twins, `SharedAccessSignature` IoT
//! Hub or DPS. WebSockets carry MQTT for both of these.

use axum::{
    Router,
    extract::Request,
    http::{HeaderMap, StatusCode, header::AUTHORIZATION},
    response::Response,
};
use tower::ServiceExt as _;

use crate::{config::Part, mqtt::is_web_socket};

/// The services behind the port.
#[derive(Debug, Clone)]
pub struct Services {
    /// Azure Digital Twins' data plane.
    pub digital_twins: Router,
    /// IoT Hub's service API.
    pub iot_hub: Router,
    /// DPS' device API.
    pub dps: Router,
    /// MQTT over WebSocket.
    pub mqtt: Router,
}

/// What answers for a service that was left out.
pub(crate) fn absent(part: Part) -> Router {
    let answer = format!("local-azure runs without {}: see --only\n", part.name());
    Router::new().fallback(async move || (StatusCode::SERVICE_UNAVAILABLE, answer))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Destination {
    DigitalTwins,
    IotHub,
    Dps,
    Mqtt,
}

/// Sends each request to its service.
pub fn router(services: Services) -> Router {
    Router::new().fallback(move |request: Request| {
        let service = match destination(request.uri().path(), request.headers()) {
            Destination::DigitalTwins => services.digital_twins.clone(),
            Destination::IotHub => services.iot_hub.clone(),
            Destination::Dps => services.dps.clone(),
            Destination::Mqtt => services.mqtt.clone(),
        };
        async move {
            let Ok(response): Result<Response, std::convert::Infallible> = service.oneshot(request).await;
            response
        }
    })
}

fn destination(path: &str, headers: &HeaderMap) -> Destination {
    if is_web_socket(path) {
        return Destination::Mqtt;
    }
    let scheme = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.split(' ').next());
    let path = by_path(path);
    match scheme {
        Some(scheme) if scheme.eq_ignore_ascii_case("Bearer") => Destination::DigitalTwins,
        Some(scheme) if scheme.eq_ignore_ascii_case("SharedAccessSignature") && path == Destination::DigitalTwins => {
            Destination::IotHub
        }
        _ => path,
    }
}

/// A device's path in DPS is `/{id scope}/registrations/{registration id}/..`; a hub's device may be called
/// `registrations`.
fn by_path(path: &str) -> Destination {
    let mut segments = path.trim_start_matches('/').split('/');
    let (first, second) = (segments.next().unwrap_or_default(), segments.next());
    let named = |names: &[&str]| names.iter().any(|name| first.eq_ignore_ascii_case(name));
    if named(&["devices", "twins", "statistics"]) {
        Destination::IotHub
    } else if second == Some("registrations") || named(&["enrollments", "enrollmentGroups", "registrations"]) {
        Destination::Dps
    } else {
        Destination::DigitalTwins
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(authorization: Option<&'static str>) -> HeaderMap {
        authorization.map(|value| (AUTHORIZATION, HeaderValue::from_static(value))).into_iter().collect()
    }

    #[test]
    fn the_authorization_scheme_decides_and_without_one_the_path() {
        use Destination::{DigitalTwins, Dps, IotHub, Mqtt};
        for (path, authorization, expected) in [
            ("/digitaltwins/a", Some("Bearer x"), DigitalTwins),
            ("/devices/a", Some("SharedAccessSignature sr=x"), IotHub),
            ("/jobs/imports", Some("Bearer x"), DigitalTwins),
            ("/jobs/v2/x", Some("sharedaccesssignature sr=x"), IotHub),
            ("/Models", None, DigitalTwins),
            ("/devices", None, IotHub),
            ("/Twins/a", None, IotHub),
            ("/", None, DigitalTwins),
            ("/0ne0/registrations/a/register", Some("SharedAccessSignature sr=x"), Dps),
            ("/0ne0/registrations/a/register", None, Dps),
            ("/devices/registrations", Some("SharedAccessSignature sr=x"), IotHub),
            ("/enrollmentGroups/a", Some("SharedAccessSignature sr=x"), Dps),
            ("/enrollments/query", Some("SharedAccessSignature sr=x"), Dps),
            ("/registrations/a", Some("SharedAccessSignature sr=x"), Dps),
            ("/$iothub/websocket", None, Mqtt),
            ("/%24iothub/websocket", Some("Bearer x"), Mqtt),
        ] {
            assert_eq!(destination(path, &headers(authorization)), expected, "{path} {authorization:?}");
        }
    }
}
