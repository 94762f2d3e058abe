//! What goes in, and what is told of it.

use serde_json::json;

use super::*;

#[test]
fn what_was_put_ahead_of_the_watch_is_news_once_when_the_watch_shows_it() {
    let cache = Cache::default();
    let object = |version: &str| {
        json!({"metadata": {"name": "a", "namespace": "n", "resourceVersion": version},
            "spec": {"canaryRef": {"name": "web"}}})
    };
    cache.put_ahead(Kind::Approval, object("7"));
    assert!(
        !cache.put(Kind::Approval, object("6")),
        "older than what is known"
    );
    assert!(cache.put(Kind::Approval, object("7")));
    assert!(!cache.put(Kind::Approval, object("7")));
    cache.put_ahead(Kind::Approval, object("7"));
    assert!(!cache.put(Kind::Approval, object("7")), "the watch was faster");
}

#[test]
fn late_answer_that_revives_what_is_gone_lasts_until_its_group_is_read() {
    let cache = Cache::default();
    let object = |name: &str, version: &str| {
        json!({"metadata": {"name": name, "namespace": "n", "resourceVersion": version},
            "spec": {"canaryRef": {"name": "web"}}})
    };
    let part = part_of(Kind::Promotion, &object("a", "7"));
    cache.put(Kind::Promotion, object("a", "7"));
    assert!(cache.remove(Kind::Promotion, &object("a", "9")));
    cache.put_ahead(Kind::Promotion, object("a", "8"));
    assert_eq!(cache.group(&part).len(), 1, "nothing tells that it is gone");
    cache.begin_read(&part);
    cache.put(Kind::Promotion, object("b", "11"));
    let mut other = object("d", "10");
    other["spec"]["canaryRef"]["name"] = json!("api");
    cache.end_read(&part, Some(vec![object("c", "10"), other.clone()]));
    assert!(
        cache.group(&part_of(Kind::Promotion, &other)).is_empty(),
        "of others nothing is known"
    );
    cache.put_known(Kind::Promotion, object("a", "12"));
    let mut names: Vec<_> = cache
        .group(&part)
        .iter()
        .map(|object| text(object, "/metadata/name").to_owned())
        .collect();
    names.sort();
    assert_eq!(names, ["b", "c"], "what came during the read stays");
}

#[test]
fn whoever_follows_an_object_is_told_however_it_goes() {
    let object = json!({"metadata": {"name": "a", "namespace": "n", "resourceVersion": "7"},
        "spec": {"canaryRef": {"name": "web"}}});
    let part = part_of(Kind::Promotion, &object);
    type Change<'a> = (&'a str, &'a dyn Fn(&Cache));
    let changes: [Change<'_>; 3] = [
        ("remove", &|cache| assert!(cache.remove(Kind::Promotion, &object))),
        ("list", &|cache| {
            cache.begin_list(Kind::Promotion, Vec::new());
            assert_eq!(cache.end_list(Kind::Promotion), std::slice::from_ref(&part));
        }),
        ("forget", &|cache| cache.forget(&part)),
    ];
    for (how, change) in changes {
        let cache = Cache::default();
        cache.put(Kind::Promotion, object.clone());
        let follower = cache.follow(Kind::Promotion, "n", "a");
        change(&cache);
        assert!(follower.has_changed().unwrap(), "{how}");
        assert!(cache.group(&part).is_empty(), "{how}");
    }
    // An answer that nothing is there, to whoever asked for one object.
    let cache = Cache::default();
    let object = json!({"metadata": {"name": "a", "namespace": "n", "resourceVersion": "7"}});
    cache.put(Kind::Canary, object.clone());
    let follower = cache.follow(Kind::Canary, "n", "a");
    let part = part_of(Kind::Canary, &object);
    cache.begin_read(&part);
    cache.end_read(&part, Some(Vec::new()));
    assert!(follower.has_changed().unwrap());
}

/// The API server counts on from an older resourceVersion then; every watch is told 410, and lists anew.
#[test]
fn list_or_read_after_a_restore_of_etcd_is_what_is_there() {
    let cache = Cache::default();
    let object = |name: &str, version: &str| json!({"metadata": {"name": name, "namespace": "n", "resourceVersion": version}});
    let part = |name: &str| part_of(Kind::Deployment, &object(name, "1"));
    let known = |name: &str| {
        let object = cache.get(&part(name))?;
        Some(text(&object, "/metadata/resourceVersion").to_owned())
    };
    for name in ["a", "b", "c"] {
        cache.put(Kind::Deployment, object(name, "1000"));
    }
    cache.remove(Kind::Deployment, &object("c", "1010"));
    cache.begin_list(Kind::Deployment, vec![part("a"), part("b"), part("c")]);
    // The answer to a write during the list is newer than the list.
    cache.put(Kind::Deployment, object("b", "1001"));
    for (name, news) in [("a", true), ("b", false), ("c", true)] {
        assert_eq!(
            cache.put_listed(Kind::Deployment, object(name, "900")),
            news,
            "{name}"
        );
    }
    cache.end_list(Kind::Deployment);
    let of = |names: [&str; 3]| names.map(|name| known(name).unwrap_or_default());
    assert_eq!(of(["a", "b", "c"]), ["900", "1001", "900"]);
    assert!(!cache.put(Kind::Deployment, object("a", "899")), "a late event");
    // Every write is refused by its guard now, so the object is read.
    cache.begin_read(&part("b"));
    cache.end_read(&part("b"), Some(vec![object("b", "901")]));
    cache.begin_read(&part("a"));
    cache.put(Kind::Deployment, object("a", "903"));
    cache.end_read(&part("a"), Some(vec![object("a", "902")]));
    assert_eq!(of(["a", "b", "c"]), ["903", "901", "900"]);
}

#[test]
fn version_of_a_list_tells_that_versions_count_anew() {
    let cache = Cache::default();
    let object =
        |version: &str| json!({"metadata": {"name": "a", "namespace": "n", "resourceVersion": version}});
    cache.put(Kind::Deployment, object("20"));
    let known = cache.newest();
    cache.put(Kind::Service, object("30"));
    for version in ["20", "25", "31", "", "no number"] {
        cache.look_at_version(version, known);
    }
    assert_eq!(
        (cache.newest(), cache.restores()),
        (30, 0),
        "others write meanwhile"
    );
    cache.look_at_version("12", cache.newest());
    assert_eq!((cache.newest(), cache.restores()), (12, 1));
    cache.look_at_version("12", cache.newest());
    assert_eq!(cache.restores(), 1, "once for all kinds");
}
