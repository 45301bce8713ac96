//! A field of a form with its label, its hint and what is wrong with it.

use askama::Template;

use super::{fields::Fields, told::Told};

/// Shown by `{{ field|safe }}`: it has escaped its parts.
#[derive(Template)]
#[template(path = "field.html")]
pub(super) struct Field {
    id: String,
    name: &'static str,
    label: &'static str,
    kind: &'static str,
    value: String,
    fault: Option<&'static str>,
    hint: &'static str,
    autocomplete: &'static str,
    max: usize,
    required: bool,
}

impl Field {
    /// `form` tells the fields of a page's forms apart; `kind` is of HTML's inputs, or
    /// `textarea`.
    pub(super) fn new(form: &str, name: &'static str, label: &'static str) -> Self {
        Self {
            id: format!("{form}-{name}"),
            name,
            label,
            kind: "text",
            value: String::new(),
            fault: None,
            hint: "",
            autocomplete: "off",
            max: 200,
            required: true,
        }
    }

    pub(super) fn kind(self, kind: &'static str, autocomplete: &'static str) -> Self {
        Self {
            kind,
            autocomplete,
            ..self
        }
    }

    pub(super) fn hint(self, hint: &'static str) -> Self {
        Self { hint, ..self }
    }

    pub(super) fn max(self, max: usize) -> Self {
        Self { max, ..self }
    }

    pub(super) fn optional(self) -> Self {
        Self {
            required: false,
            ..self
        }
    }

    pub(super) fn value(self, value: &str) -> Self {
        Self {
            value: value.to_owned(),
            ..self
        }
    }

    /// As it was typed, and what is wrong with it. A password comes back to nobody.
    pub(super) fn typed(self, fields: &Fields, told: &Told) -> Self {
        let value = match self.kind {
            "password" => String::new(),
            _ => fields.get(self.name).to_owned(),
        };
        Self {
            value,
            fault: told.faults.of(self.name),
            ..self
        }
    }

    fn described(&self) -> String {
        let mut by = Vec::new();
        if !self.hint.is_empty() {
            by.push(format!("{}-hint", self.id));
        }
        if self.fault.is_some() {
            by.push(format!("{}-fault", self.id));
        }
        by.join(" ")
    }
}
