//! The three Services of a Canary, and the many ways to write their host names.
//!
//! Users write hosts in any form that resolves. A rewritten host keeps its form, so that undoing the rewrite gives
//! back exactly what was there.

/// Names of the Services of one Canary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceNames {
    /// Namespace of all three and of the VirtualService.
    pub namespace: String,
    /// The Service that callers use.
    pub apex: String,
    /// The Service of the primary.
    pub primary: String,
    /// The Service of the canary.
    pub canary: String,
}

/// What a Service of a Canary is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Callers use it.
    Apex,
    /// It selects the pods of the primary.
    Primary,
    /// It selects the pods of the canary.
    Canary,
}

impl ServiceNames {
    /// The short name of the Service with this role.
    #[must_use]
    pub fn short(&self, role: Role) -> &str {
        match role {
            Role::Apex => &self.apex,
            Role::Primary => &self.primary,
            Role::Canary => &self.canary,
        }
    }

    /// The role of the Service that `host` resolves to within the namespace: `x`, `x.ns`, `x.ns.svc` or
    /// `x.ns.svc.<cluster domain>`.
    #[must_use]
    pub fn matches(&self, host: &str) -> Option<Role> {
        let (service, rest) = split_host(host);
        self.covers_suffix(rest).then_some(())?;
        [Role::Apex, Role::Primary, Role::Canary]
            .into_iter()
            .find(|role| self.short(*role) == service)
    }

    /// As [`ServiceNames::matches`], for a host that an object in `namespace` names: a short name means a Service there.
    #[must_use]
    pub fn resolve(&self, host: &str, namespace: &str) -> Option<Role> {
        let foreign = namespace != self.namespace && !host.contains('.');
        self.matches(host).filter(|_| !foreign)
    }

    /// Whether `pattern`, a host that begins with `*`, covers the Service with this role.
    #[must_use]
    pub fn covered(&self, pattern: &str, role: Role) -> bool {
        let Some(suffix) = pattern.strip_prefix('*') else {
            return false;
        };
        let name = format!("{}.{}.svc.", self.short(role), self.namespace);
        // The cluster's domain is its own affair.
        let domain = suffix
            .find(".svc.")
            .map_or("cluster.local", |at| &suffix[at + ".svc.".len()..]);
        format!("{name}{domain}").ends_with(suffix)
    }

    /// `host` in the same form, for another role; `None` if it is none of the three Services.
    #[must_use]
    pub fn rewrite(&self, host: &str, role: Role) -> Option<String> {
        self.matches(host)?;
        let (_, rest) = split_host(host);
        Some(format!("{}{rest}", self.short(role)))
    }

    fn covers_suffix(&self, rest: &str) -> bool {
        if rest.is_empty() {
            return true;
        }
        let Some(rest) = rest
            .strip_prefix('.')
            .and_then(|r| r.strip_prefix(self.namespace.as_str()))
        else {
            return false;
        };
        match rest.strip_prefix(".svc") {
            None => rest.is_empty(),
            Some(domain) => {
                domain.is_empty()
                    || domain
                        .strip_prefix('.')
                        .is_some_and(|d| !d.is_empty() && !d.starts_with('.'))
            }
        }
    }
}

/// The first label, and the rest with its leading dot.
fn split_host(host: &str) -> (&str, &str) {
    host.split_at(host.find('.').unwrap_or(host.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> ServiceNames {
        ServiceNames {
            namespace: "shop".into(),
            apex: "cart".into(),
            primary: "cart-primary".into(),
            canary: "cart-canary".into(),
        }
    }

    #[test]
    fn every_form_that_resolves_in_the_namespace_is_recognised() {
        let table = [
            ("cart", Some(Role::Apex)),
            ("cart.shop", Some(Role::Apex)),
            ("cart.shop.svc", Some(Role::Apex)),
            ("cart.shop.svc.cluster.local", Some(Role::Apex)),
            ("cart-primary.shop.svc.corp.example", Some(Role::Primary)),
            ("cart-canary.shop", Some(Role::Canary)),
            ("cart-canary", Some(Role::Canary)),
            ("cart.other", None),
            ("cart.shop2", None),
            ("cart.sho", None),
            ("cart.shop.svcx", None),
            ("cart.shop.svc.", None),
            ("cart.shop.svc..local", None),
            ("cart.shop.", None),
            ("cart.", None),
            ("carts", None),
            ("cart.example.com", None),
            ("cart.shop.example.com", None),
            ("*", None),
            ("", None),
        ];
        for (host, role) in table {
            assert_eq!(names().matches(host), role, "{host}");
        }
    }

    #[test]
    fn short_name_means_a_service_of_the_namespace_where_it_is_written() {
        assert_eq!(names().resolve("cart", "shop"), Some(Role::Apex));
        assert_eq!(names().resolve("cart", "other"), None);
        assert_eq!(names().resolve("cart.shop", "other"), Some(Role::Apex));
        assert_eq!(
            names().resolve("cart-canary.shop.svc.cluster.local", "istio-system"),
            Some(Role::Canary)
        );
    }

    #[test]
    fn wildcard_covers_what_ends_like_it() {
        let table = [
            ("*", true),
            ("*.local", true),
            ("*.shop.svc.cluster.local", true),
            ("*.svc.corp.example", true),
            ("*.shop.svc.corp.example", true),
            ("*.other.svc.cluster.local", false),
            ("*.example.com", false),
            ("cart.shop.svc.cluster.local", false),
        ];
        for (pattern, covered) in table {
            assert_eq!(names().covered(pattern, Role::Apex), covered, "{pattern}");
        }
    }

    #[test]
    fn rewriting_keeps_the_form_and_can_be_undone() {
        for form in ["", ".shop", ".shop.svc", ".shop.svc.cluster.local"] {
            let apex = format!("cart{form}");
            let canary = names().rewrite(&apex, Role::Canary);
            assert_eq!(canary.as_deref(), Some(format!("cart-canary{form}").as_str()));
            assert_eq!(names().rewrite(&canary.unwrap(), Role::Apex), Some(apex));
        }
        assert_eq!(names().rewrite("cart.other", Role::Canary), None);
    }
}
