//! What is wrong with what somebody typed, said so that it can stand beside the field.

/// A sentence for the person who typed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault(pub &'static str);

/// The faults of a form, by the name of the field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults(Vec<(&'static str, &'static str)>);

impl Faults {
    /// One fault alone.
    #[must_use]
    pub fn one(field: &'static str, fault: Fault) -> Self {
        Self(vec![(field, fault.0)])
    }

    /// Keeps what is good and notes what is not, so that all faults are told at once.
    pub fn take<T>(&mut self, field: &'static str, parsed: Result<T, Fault>) -> Option<T> {
        match parsed {
            Ok(value) => Some(value),
            Err(fault) => {
                self.0.push((field, fault.0));
                None
            }
        }
    }

    /// What is wrong with a field.
    #[must_use]
    pub fn of(&self, field: &str) -> Option<&'static str> {
        let mut faults = self.0.iter();
        faults
            .find(|(name, _)| *name == field)
            .map(|(_, text)| *text)
    }

    /// Whether all is well.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Field and fault, in the order of the form.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.0.iter().copied()
    }
}

/// A text of one line with at most so many characters; none of them steers a terminal or turns
/// the direction of writing.
///
/// # Errors
/// `too_long`, or that it has characters that cannot be shown.
pub(crate) fn line(text: &str, max: usize, too_long: Fault) -> Result<String, Fault> {
    let text = text.trim();
    if text.chars().count() > max {
        return Err(too_long);
    }
    match text.chars().any(is_hidden) {
        true => Err(Fault("It holds characters that cannot be shown.")),
        false => Ok(text.to_owned()),
    }
}

/// The same of several lines.
///
/// # Errors
/// As of [`line`].
pub(crate) fn lines(text: &str, max: usize, too_long: Fault) -> Result<String, Fault> {
    let text = text.replace("\r\n", "\n");
    let one = line(&text.replace('\n', " "), max, too_long)?;
    match one.is_empty() {
        true => Ok(one),
        false => Ok(text.trim().to_owned()),
    }
}

/// Controls, and the marks of Unicode that change how their neighbours are read.
fn is_hidden(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Fault = Fault("long");

    #[test]
    fn texts() {
        assert_eq!(line(" Grüße ", 5, LONG), Ok("Grüße".into()));
        assert_eq!(line("Grüße!", 5, LONG), Err(LONG));
        for hidden in ["a\nb", "a\u{202e}b", "a\u{0}b", "\u{feff}a"] {
            assert!(line(hidden, 99, LONG).is_err(), "{hidden:?}");
        }
        assert_eq!(lines("a\r\nb\n", 9, LONG), Ok("a\nb".into()));
    }
}
