//! Package URLs of container images. Pure.
//!
//! With a digest it is `pkg:oci`, whose version must be one; with a tag alone it is `pkg:docker`, whose version may be.

/// Names `image`, such as `registry.example/team/shop:1.2`, as a package URL; `None` if it cannot be read as an image.
#[must_use]
pub fn of_image(image: &str) -> Option<String> {
    let (rest, digest) = match image.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (image, None),
    };
    // A colon before the last slash belongs to the registry's port.
    let after_slash = rest.rfind('/').map_or(0, |slash| slash + 1);
    let (path, tag) = match rest[after_slash..].split_once(':') {
        Some((name, tag)) => (&rest[..after_slash + name.len()], Some(tag)),
        None => (rest, None),
    };
    let (registry, path) = match path.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (Some(first), rest),
        _ => (None, path),
    };
    let fit = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic());
    if ![Some(path), digest, tag].into_iter().flatten().all(fit) || path.split('/').any(str::is_empty) {
        return None;
    }
    let name = path.rsplit('/').next().unwrap_or(path);
    let Some(digest) = digest else {
        let segments: Vec<String> = path.split('/').map(escaped).collect();
        let version = escaped(tag.unwrap_or("latest"));
        let repository = registry.map_or(String::new(), |host| format!("?repository_url={}", escaped(host)));
        return Some(format!("pkg:docker/{}@{version}{repository}", segments.join("/")));
    };
    let repository = registry.map_or(path.to_owned(), |host| format!("{host}/{path}"));
    let tag = tag.map_or(String::new(), |tag| format!("&tag={}", escaped(tag)));
    Some(format!(
        "pkg:oci/{}@{}?repository_url={}{tag}",
        escaped(name),
        escaped(digest),
        escaped_path(&repository)
    ))
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| escape(byte, b"-._~")).collect()
}

fn escaped_path(text: &str) -> String {
    text.bytes().map(|byte| escape(byte, b"-._~/")).collect()
}

fn escape(byte: u8, plain: &[u8]) -> String {
    if byte.is_ascii_alphanumeric() || plain.contains(&byte) {
        char::from(byte).to_string()
    } else {
        format!("%{byte:02X}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_becomes_the_package_url_of_its_kind() {
        for (image, purl) in [
            ("shop", "pkg:docker/shop@latest"),
            ("shop:1.2", "pkg:docker/shop@1.2"),
            ("team/shop:1.2", "pkg:docker/team/shop@1.2"),
            (
                "registry.example/team/shop:1.2",
                "pkg:docker/team/shop@1.2?repository_url=registry.example",
            ),
            (
                "localhost:5000/shop",
                "pkg:docker/shop@latest?repository_url=localhost%3A5000",
            ),
            (
                "registry.example:5000/team/shop@sha256:0b31b1",
                "pkg:oci/shop@sha256%3A0b31b1?repository_url=registry.example%3A5000/team/shop",
            ),
            (
                "shop:1.2@sha256:0b31b1",
                "pkg:oci/shop@sha256%3A0b31b1?repository_url=shop&tag=1.2",
            ),
        ] {
            assert_eq!(of_image(image).as_deref(), Some(purl), "{image}");
        }
        for nonsense in ["", ":", "shop:", "shop@", "a//b", "/shop", "my shop", "shöp"] {
            assert_eq!(of_image(nonsense), None, "{nonsense}");
        }
    }
}
