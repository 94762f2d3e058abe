//! Why a route could not be read or changed.

/// A VirtualService that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// No destination of any route names the Service, its primary or its canary.
    #[error("no route of the VirtualService leads to the Service")]
    NoManagedRoute,
    /// A part that must be understood is not as Istio defines it.
    #[error("the VirtualService cannot be understood at {path}")]
    Malformed {
        /// JSON pointer of that part.
        path: String,
    },
}

impl RouteError {
    /// A stable word for events and metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            RouteError::NoManagedRoute => "NoManagedRoute",
            RouteError::Malformed { .. } => "RouteMalformed",
        }
    }

    pub(super) fn malformed(path: impl Into<String>) -> RouteError {
        RouteError::Malformed { path: path.into() }
    }
}
