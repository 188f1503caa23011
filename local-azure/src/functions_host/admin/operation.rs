//! The operations below `/admin`, and which one a request means.

use axum::http::Method;

/// An operation of the host's own API. Routing is done from this table.
///
/// Source: azure-functions-host, `FunctionsController.cs` and `HostController.cs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Every function of the app.
    ListFunctions,
    /// One function.
    GetFunction,
    /// Invokes a function by hand.
    InvokeFunction,
    /// What is wrong with a function.
    GetFunctionStatus,
    /// How the host is.
    GetHostStatus,
    /// Whether the host is there.
    Ping,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::ListFunctions,
        Self::GetFunction,
        Self::InvokeFunction,
        Self::GetFunctionStatus,
        Self::GetHostStatus,
        Self::Ping,
    ];

    /// Its methods; more than one only where the host does not tell them apart.
    pub const fn methods(self) -> &'static [Method] {
        match self {
            Self::ListFunctions | Self::GetFunction | Self::GetFunctionStatus | Self::GetHostStatus => &[Method::GET],
            Self::InvokeFunction => &[Method::POST],
            Self::Ping => &[Method::GET, Method::POST],
        }
    }

    /// Its path, in which `{name}` stands for a function's name.
    pub const fn template(self) -> &'static str {
        match self {
            Self::ListFunctions => "/admin/functions",
            Self::GetFunction | Self::InvokeFunction => "/admin/functions/{name}",
            Self::GetFunctionStatus => "/admin/functions/{name}/status",
            Self::GetHostStatus => "/admin/host/status",
            Self::Ping => "/admin/host/ping",
        }
    }
}

/// What a request is for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target<'a> {
    /// An operation, on the function of that name where the template has one.
    Operation(Operation, &'a str),
    /// A path that is there, with a method that is not.
    OtherMethod,
    /// Nothing of the host's own.
    Elsewhere,
}

/// What a request is for. Paths have no case, as everywhere in ASP.NET.
pub(super) fn target<'a>(method: &Method, path: &'a str) -> Target<'a> {
    let mut at_this_path = Operation::ALL.iter().filter_map(|operation| {
        let name = name_in(path, operation.template())?;
        Some((*operation, name))
    });
    let mut is_there = false;
    let found = at_this_path.find(|(operation, _)| {
        is_there = true;
        operation.methods().contains(method)
    });
    match found {
        Some((operation, name)) => Target::Operation(operation, name),
        None if is_there => Target::OtherMethod,
        None => Target::Elsewhere,
    }
}

/// What stands for `{name}` in a path of this template, or nothing if it has none; `None` for other paths.
fn name_in<'a>(path: &'a str, template: &str) -> Option<&'a str> {
    let (mut segments, mut name) = (path.trim_matches('/').split('/'), "");
    for wanted in template.trim_matches('/').split('/') {
        match segments.next()? {
            segment if wanted == "{name}" && !segment.is_empty() => name = segment,
            segment if segment.eq_ignore_ascii_case(wanted) => {}
            _ => return None,
        }
    }
    segments.next().is_none().then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_means_the_operation_of_its_method_and_path_in_whatever_case() {
        use Operation::{GetFunction, GetFunctionStatus, GetHostStatus, InvokeFunction, ListFunctions, Ping};
        let operation = Target::Operation;
        let cases = [
            (Method::GET, "/admin/functions", operation(ListFunctions, "")),
            (Method::GET, "/Admin/Functions/", operation(ListFunctions, "")),
            (Method::GET, "/admin/functions/F", operation(GetFunction, "F")),
            (Method::POST, "/admin/functions/F", operation(InvokeFunction, "F")),
            (Method::GET, "/admin/functions/status/status", operation(GetFunctionStatus, "status")),
            (Method::GET, "/admin/host/status", operation(GetHostStatus, "")),
            (Method::POST, "/admin/host/ping", operation(Ping, "")),
            (Method::DELETE, "/admin/functions/F", Target::OtherMethod),
            (Method::POST, "/admin/functions", Target::OtherMethod),
            (Method::GET, "/admin/functions//status", Target::Elsewhere),
            (Method::GET, "/admin/functions/F/keys", Target::Elsewhere),
            (Method::GET, "/admin", Target::Elsewhere),
            (Method::GET, "/api/admin/functions", Target::Elsewhere),
        ];
        for (method, path, expected) in cases {
            assert_eq!(target(&method, path), expected, "{method} {path}");
        }
    }

    #[test]
    fn every_operation_is_reached_by_each_of_its_methods() {
        for operation in Operation::ALL {
            let path = operation.template().replace("{name}", "F");
            for method in operation.methods() {
                let name = if path == operation.template() { "" } else { "F" };
                assert_eq!(target(method, &path), Target::Operation(operation, name));
            }
        }
    }
}
