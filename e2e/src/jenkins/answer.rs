//! Who asks, whether they may, and for what.

use serde_json::json;

use super::page::{Page, Request};
use super::setup::User;
use super::world::World;
use super::{project, view};

const VERSION: &str = "2.555.1";

/// Who asks.
pub(super) struct Caller {
    pub(super) name: String,
    pub(super) user: User,
    /// Whether they came with an API token: such need no crumb.
    token: bool,
}

pub(super) fn answer(world: &mut World, request: &Request) -> Page {
    let life = format!("life{:04}", world.lives);
    let page = if world.now < world.ready {
        Page::html(503, "Jenkins is getting ready to work")
    } else {
        admitted(world, request)
    };
    page.with("X-Jenkins", VERSION).with("X-Jenkins-Session", life)
}

fn admitted(world: &mut World, request: &Request) -> Page {
    let Some(path) = request.path.strip_prefix(&world.settings.context) else {
        return Page::not_found();
    };
    if !(path.is_empty() || path.starts_with('/')) {
        return Page::not_found();
    }
    let names: Vec<String> = path
        .split('/')
        .filter(|name| !name.is_empty())
        .map(decoded)
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    if names == ["login"] {
        let form = "<form action=\"j_spring_security_check\" method=\"post\">Sign in to Jenkins</form>";
        return Page::text("text/html;charset=utf-8", form);
    }
    let caller = match caller(world, request) {
        Ok(Some(caller)) => caller,
        Ok(None) => {
            let from: String = form_urlencoded::byte_serialize(request.path.as_bytes()).collect();
            return Page::to(302, format!("{}login?from={from}", root(world)));
        }
        Err(page) => return page,
    };
    if request.is_post() && world.settings.crumbs && !caller.token && !has_crumb(world, request, &caller) {
        return Page::html(403, "No valid crumb was included in the request");
    }
    route(world, request, &caller, &names)
}

fn route(world: &mut World, request: &Request, caller: &Caller, names: &[&str]) -> Page {
    match names {
        [] => Page::html(200, "Dashboard [Jenkins]"),
        ["api", "json"] => Page::json(&view::root(world), request),
        ["me" | "whoAmI", "api", "json"] => {
            let id = &caller.name;
            Page::json(
                &json!({"_class": "hudson.model.User", "id": id, "fullName": id, "name": id}),
                request,
            )
        }
        ["crumbIssuer", "api", "json"] if world.settings.crumbs => crumb(world, request, caller),
        ["createItem"] => project::create(world, request, ""),
        ["queue", "api", "json"] => Page::json(&view::queue(world), request),
        ["queue", "item", id, "api", "json"] => {
            let item = id.parse().ok().and_then(|id| view::item(world, id));
            item.map_or_else(Page::not_found, |item| Page::json(&item, request))
        }
        ["queue", "cancelItem"] if !request.is_post() => Page::only_post(),
        ["queue", "cancelItem"] => project::cancel(world, request, caller),
        ["computer", "api", "json"] => Page::json(&view::computers(world), request),
        ["computer", "(master)" | "(built-in)", "api", "json"] => Page::json(&view::computer(world), request),
        ["job", ..] if !caller.user.reads => Page::not_found(),
        ["job", ..] => project::route(world, request, caller, names),
        _ => Page::not_found(),
    }
}

fn caller(world: &World, request: &Request) -> Result<Option<Caller>, Page> {
    let basic = request.header("authorization").filter(|_| world.settings.basic);
    let Some(basic) = basic.and_then(|value| value.strip_prefix("Basic ")) else {
        return Ok(None);
    };
    let text = unbase64(basic);
    let (name, secret) = text.split_once(':').unwrap_or_default();
    let user = world.settings.users.get(name);
    match user.filter(|user| secret == user.password || secret == user.token) {
        Some(user) => Ok(Some(Caller {
            name: name.to_owned(),
            user: user.clone(),
            token: secret == user.token,
        })),
        None => Err(Page::html(401, "Invalid password/token for user")),
    }
}

fn session(request: &Request) -> Option<&str> {
    let cookies = request.header("cookie")?.split(';');
    let mut values = cookies.filter_map(|cookie| cookie.trim().strip_prefix("JSESSIONID.fake="));
    values.next()
}

/// A crumb belongs to a user and a session: it comes with a cookie, and counts only together with it.
fn crumb(world: &mut World, request: &Request, caller: &Caller) -> Page {
    let known = session(request).filter(|session| world.sessions.contains_key(*session));
    let (session, new) = match known {
        Some(session) => (session.to_owned(), false),
        None => (world.unique("node"), true),
    };
    let crumb = crumb_of(world, &session, &caller.name);
    world.sessions.insert(session.clone(), caller.name.clone());
    let issuer = "hudson.security.csrf.DefaultCrumbIssuer";
    let value = json!({"_class": issuer, "crumb": crumb, "crumbRequestField": "Jenkins-Crumb"});
    let page = Page::json(&value, request);
    if new {
        let cookie = format!("JSESSIONID.fake={session}; Path=/; HttpOnly");
        return page.with("Set-Cookie", cookie);
    }
    page
}

fn crumb_of(world: &World, session: &str, user: &str) -> String {
    format!("crumb-{}-{session}-{user}", world.lives)
}

fn has_crumb(world: &World, request: &Request, caller: &Caller) -> bool {
    let Some(session) = session(request) else {
        return false;
    };
    let known = world.sessions.get(session) == Some(&caller.name);
    known && request.header("jenkins-crumb") == Some(&crumb_of(world, session, &caller.name))
}

/// What it believes to be its own URL.
pub(super) fn root(world: &World) -> String {
    match &world.settings.believes {
        Some(url) => format!("{}/", url.trim_end_matches('/')),
        None => format!("http://{}{}/", world.address, world.settings.context),
    }
}

pub(super) fn encoded(name: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(byte);
    let one = |byte: u8| {
        if plain(&byte) {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    name.bytes().map(one).collect()
}

fn decoded(name: &str) -> String {
    let text = name.replace('+', "%2B");
    let text = text.replace('&', "%26").replace('=', "%3D");
    form_urlencoded::parse(text.as_bytes())
        .next()
        .map_or_else(String::new, |(name, _)| name.into_owned())
}

fn unbase64(text: &str) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut held, mut bytes) = (0_u32, 0_u32, Vec::new());
    for digit in text.bytes() {
        let Some(value) = DIGITS.iter().position(|d| *d == digit) else {
            break;
        };
        bits = bits << 6 | u32::try_from(value).unwrap_or_default();
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 0xff).unwrap_or_default());
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
