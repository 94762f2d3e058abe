//! The description of the API (OpenAPI 3.1), made of the table of calls and of the types themselves.

use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::{problem::Problem, route};
use crate::api::LINE;

/// Where the schemas of types stand.
const SCHEMAS: &str = "/components/schemas";

/// A body.
#[derive(Clone)]
pub struct Body {
    schema: Option<fn(&mut SchemaGenerator) -> Schema>,
    required: bool,
}

impl Body {
    /// JSON of this type.
    #[must_use]
    pub fn of<T: JsonSchema>(required: bool) -> Body {
        Body {
            schema: Some(SchemaGenerator::subschema_for::<T>),
            required,
        }
    }

    /// Plain text.
    #[must_use]
    pub fn text() -> Body {
        Body {
            schema: None,
            required: true,
        }
    }

    fn content(&self, generator: &mut SchemaGenerator) -> Value {
        match self.schema {
            Some(schema) => json!({"application/json": {"schema": schema(generator)}}),
            None => json!({"text/plain": {"schema": {"type": "string"}}}),
        }
    }
}

/// A parameter beside those of the path.
#[derive(Clone, Copy)]
pub struct Parameter {
    name: &'static str,
    place: &'static str,
    kind: &'static str,
    text: &'static str,
}

impl Parameter {
    /// One of the query.
    #[must_use]
    pub fn query(name: &'static str, kind: &'static str, text: &'static str) -> Parameter {
        Parameter {
            name,
            place: "query",
            kind,
            text,
        }
    }

    /// A header that must be there.
    #[must_use]
    pub fn header(name: &'static str, text: &'static str) -> Parameter {
        Parameter {
            name,
            place: "header",
            kind: "string",
            text,
        }
    }

    fn json(self) -> Value {
        let header = self.place == "header";
        let schema = match self.kind {
            "integer" if self.name == "waitSeconds" => {
                json!({"type": "integer", "minimum": 0, "maximum": super::WAIT_LIMIT})
            }
            // Clients begin below the first one.
            "integer" if self.name == "afterSeq" => {
                json!({"type": "integer", "minimum": i64::MIN, "maximum": i64::MAX})
            }
            "integer" => json!({"type": "integer", "minimum": 0, "maximum": i64::MAX}),
            _ => {
                json!({"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!-~]([ -~]*[!-~])?$"})
            }
        };
        json!({"name": self.name, "in": self.place, "required": header, "description": self.text, "schema": schema})
    }
}

/// A call.
pub struct Operation {
    /// Method, in small letters.
    pub method: &'static str,
    /// Path with its parameters in braces.
    pub path: String,
    id: String,
    summary: String,
    parameters: Vec<Parameter>,
    body: Option<Body>,
    answers: Vec<(u16, &'static str)>,
    answer: Option<Body>,
    refusals: Vec<u16>,
}

impl Operation {
    /// A call that takes and answers nothing yet.
    #[must_use]
    pub fn new(method: &'static str, path: &str, id: &str, summary: &str) -> Operation {
        Operation {
            method,
            path: path.to_owned(),
            id: id.to_owned(),
            summary: summary.to_owned(),
            parameters: Vec::new(),
            body: None,
            answers: Vec::new(),
            answer: None,
            refusals: Vec::new(),
        }
    }

    /// With these parameters.
    #[must_use]
    pub fn with(mut self, parameters: Vec<Parameter>) -> Operation {
        self.parameters = parameters;
        self
    }

    /// With this body.
    #[must_use]
    pub fn takes(mut self, body: Body) -> Operation {
        self.body = Some(body);
        self
    }

    /// With these answers.
    #[must_use]
    pub fn answers(mut self, answers: &[(u16, &'static str)], body: Body) -> Operation {
        self.answers = answers.to_vec();
        self.answer = Some(body);
        self
    }

    /// With these refusals, beside those that every call has.
    #[must_use]
    pub fn refuses(mut self, statuses: &[u16]) -> Operation {
        self.refusals = statuses.to_vec();
        self
    }

    fn json(&self, generator: &mut SchemaGenerator) -> Value {
        let name = json!({"type": "string", "minLength": 1, "maxLength": 253, "pattern": "^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"});
        let in_path = self
            .path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let mut parameters: Vec<Value> = in_path
            .map(|part| json!({"name": part, "in": "path", "required": true, "schema": name}))
            .collect();
        parameters.extend(self.parameters.iter().map(|parameter| parameter.json()));
        let mut responses = Map::new();
        for (status, text) in &self.answers {
            let content = self.answer.as_ref().map(|body| body.content(generator));
            responses.insert(
                status.to_string(),
                json!({"description": text, "content": content}),
            );
        }
        // Of a path or header that cannot be used, of whoever asks, of what is not there, and of what cannot be served now.
        let always = [400, 401, 403, 404, 410, 429, 501, 503];
        let of_bodies = if self.body.is_some() { &[408, 413][..] } else { &[] };
        for status in self.refusals.iter().chain(&always).chain(of_bodies) {
            let schema = generator.subschema_for::<Problem>();
            let content = json!({"application/problem+json": {"schema": schema}});
            // A status that also answers, such as 409 of a result, is described there.
            responses
                .entry(status.to_string())
                .or_insert_with(|| json!({"description": "See `code` and `detail`", "content": content}));
        }
        let mut operation = json!({
            "operationId": self.id,
            "summary": self.summary,
            "parameters": parameters,
            "responses": responses,
            "security": [{"bearer": []}],
        });
        if let Some(body) = &self.body {
            operation["requestBody"] = json!({"required": body.required, "content": body.content(generator)});
        }
        operation
    }
}

/// The resources' schemas say `nullable`, which this version of the description does not know.
fn spell_null(json: &mut Value) {
    match json {
        Value::Object(fields) => {
            if fields.remove("nullable") == Some(Value::Bool(true))
                && let Some(Value::String(kind)) = fields.get("type").cloned()
            {
                fields.insert("type".to_owned(), json!([kind, "null"]));
            }
            fields.values_mut().for_each(spell_null);
        }
        Value::Array(items) => items.iter_mut().for_each(spell_null),
        _ => {}
    }
}

/// The whole description.
#[must_use]
pub fn document() -> Value {
    let mut generator = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = SCHEMAS.into())
        .into_generator();
    let mut paths = Map::new();
    for operation in route::operations() {
        let described = operation.json(&mut generator);
        let path = paths
            .entry(operation.path.clone())
            .or_insert_with(|| Value::Object(Map::new()));
        path[operation.method] = described;
    }
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Bellwether hook API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Start a promotion and wait for its verdict.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    });
    spell_null(&mut document);
    spell_pattern(&mut document);
    document
}

/// [`LINE`] in the syntax of ECMA 262, which OpenAPI demands.
const ECMA_LINE: &str =
    r"^[^\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\u2028\u2029]*$";

fn spell_pattern(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.get("pattern").is_some_and(|pattern| pattern == LINE) {
                fields.insert("pattern".to_owned(), ECMA_LINE.into());
            }
            fields.values_mut().for_each(spell_pattern);
        }
        Value::Array(items) => items.iter_mut().for_each(spell_pattern),
        _ => {}
    }
}
