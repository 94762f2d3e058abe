use super::*;

fn order() -> Order {
    Order {
        job: JobPath::parse("team/deploy").unwrap(),
        parameters: Default::default(),
        mark: Mark {
            name: "ID".to_owned(),
            value: "7".to_owned(),
        },
    }
}

fn state(fields: &str) -> ItemState {
    let body = format!(r#"{{"_class":"x","id":3,"actions":[],{fields}}}"#);
    Item::read(body.as_bytes(), &[]).unwrap().state
}

#[test]
fn an_items_place_is_read_from_fields_and_not_from_its_class_or_reason() {
    use ItemState::*;
    let none = r#""blocked":false,"buildable":false,"why":"Finished waiting""#;
    assert_eq!(state(none), Waiting);
    assert_eq!(state(r#""blocked":true,"buildable":false"#), Blocked);
    assert_eq!(
        state(r#""blocked":false,"buildable":true,"pending":false"#),
        Buildable
    );
    assert_eq!(state(r#""buildable":true,"pending":true"#), Pending);
    assert_eq!(
        state(r#""cancelled":false,"executable":null,"why":null"#),
        Left(None)
    );
    assert_eq!(state(r#""cancelled":true,"executable":null"#), Cancelled);
    let left = state(r#""cancelled":false,"executable":{"number":4,"url":"http://x/job/a/4/"}"#);
    assert!(matches!(left, Left(Some(Executable { number: 4, .. }))));
}

#[test]
fn the_item_of_an_order_has_its_mark_and_its_job() {
    let queue = |parameter: &str, job: &str| {
        let body = format!(
            r#"{{"items":[{{"id":1,"actions":[{{}},null]}},
            {{"id":2,"task":{{"url":"http://wrong/{job}/"}},"actions":[{{}},{{"parameters":[{parameter}]}}]}}]}}"#
        );
        Item::find(body.as_bytes(), &[], &order())
            .unwrap()
            .and_then(|item| item.id)
            .map(|id| id.0)
    };
    let mine = r#"{"name":"A","value":true},{"name":"ID","value":"7"}"#;
    assert_eq!(queue(mine, "job/team/job/deploy"), Some(2));
    assert_eq!(queue(mine, "job/Team/job/DEPLOY"), Some(2), "as it was created");
    assert_eq!(queue(mine, "job/team/job/other"), None);
    assert_eq!(
        queue(r#"{"name":"ID","value":"77"}"#, "job/team/job/deploy"),
        None
    );
    assert_eq!(queue("", "job/team/job/deploy"), None);
}

#[test]
fn where_actions_are_not_shown_the_text_for_people_tells_the_mark() {
    let body = br#"{"items":[{"id":2,"params":"\nA=b=c\nID=7","task":{"url":"/job/team/job/deploy/"}}]}"#;
    assert!(Item::find(body, &[], &order()).unwrap().is_some());
}

#[test]
fn an_item_with_another_mark_or_job_is_foreign_and_one_that_tells_neither_is_not() {
    let foreign = |fields: &str| {
        let body = format!(r#"{{"id":3{fields}}}"#);
        Item::read(body.as_bytes(), &[]).unwrap().is_foreign(&order())
    };
    assert!(foreign(r#","params":"\nID=8""#));
    assert!(foreign(r#","task":{"url":"http://x/job/other/"}"#));
    for job in ["job/team/job/deploy", "job/Team/job/DEPLOY"] {
        let fields = format!(r#","params":"\nID=7","task":{{"url":"http://x/{job}/"}}"#);
        assert!(!foreign(&fields), "{job}");
    }
    assert!(!foreign(""));
}

/// As Hudson 1.395 answers.
#[test]
fn an_item_of_an_old_core_has_no_number() {
    let body = br#"{"items":[{"actions":[{"parameters":[{"name":"ID","value":"7"}]},{}],"blocked":false,
        "buildable":false,"params":"\n(StringParameterValue) ID='7'","stuck":false,
        "task":{"url":"http://127.0.0.1:8080/job/team/job/deploy/"},"why":"???"}]}"#;
    let found = Item::find(body, &[], &order()).unwrap().unwrap();
    assert_eq!((found.id, found.state), (None, ItemState::Waiting));
}
