//! What holds of any two specifications of an owned VirtualService.

use proptest::prelude::*;

use super::*;

fn part() -> impl Strategy<Value = Option<Value>> {
    prop_oneof![
        Just(None),
        Just(Some(json!({ "a": { "b": 1 } }))),
        Just(Some(json!({ "a": { "c": [1, 2] }, "d": 2 }))),
        Just(Some(json!({ "a": 3 }))),
    ]
}

prop_compose! {
    fn any_route()(
        (hosts, gateways) in (0..3usize, 0..3usize),
        (delegation, tcp, port_discovery, several_ports) in (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()),
        (headers, retries, rewrite) in (part(), part(), part()),
        timeout in prop_oneof![Just(None), Just(Some("1s".to_owned())), Just(Some("2s".to_owned()))],
    ) -> OwnedRoute {
        OwnedRoute {
            hosts: ["a", "b"].iter().take(hosts).map(ToString::to_string).collect(),
            gateways: ["g", "mesh"].iter().take(gateways).map(ToString::to_string).collect(),
            delegation, tcp, port_discovery, several_ports, headers, retries, rewrite, timeout,
            ..wanted()
        }
    }
}

proptest! {
    #[test]
    fn repair_leads_from_any_spec_to_any_other(from in any_route(), to in any_route(), w in 0..=100i64) {
        let done = repaired(&live(&from), &to, w);
        let exact = OwnedRoute { weight: Weight::saturating(w), ..to.clone() };
        prop_assert_eq!(&done["spec"], &build(&exact));
        prop_assert!(!owned_drift(&done["spec"], &build(&to)));
        prop_assert_eq!(repaired(&done, &to, w), done);
    }

    #[test]
    fn drift_is_seen_whenever_our_part_would_be_changed(from in any_route(), to in any_route()) {
        let vs = live(&from);
        let mut unmarked = vs.clone();
        unmarked["metadata"].as_object_mut().unwrap().remove("annotations");
        let patch = repair(&unmarked, &build(&to), &to.names, Weight::ZERO).unwrap();
        if !patch.0.is_empty() {
            prop_assert!(owned_drift(&vs["spec"], &build(&to)));
        }
    }
}
