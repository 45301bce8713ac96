//! AMF0, the encoding of RTMP's commands: read with a budget, since strangers send it,
//! and written for the few replies that a server owes.
//!
//! The one rule: depth and number of values are bounded, so that no message costs more
//! than its own length.

use bytes::{BufMut, BytesMut};

/// A value that a broadcaster sent. Kinds that no command needs are read and forgotten.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Marker 0.
    Number(f64),
    /// Marker 1.
    Boolean(bool),
    /// Markers 2 and 12; bytes that are no UTF-8 are replaced.
    String(String),
    /// Markers 3, 8 and 16, in the order they came.
    Object(Vec<(String, Value)>),
    /// Marker 10.
    Array(Vec<Value>),
    /// Markers 5, 6, 11, 13: null, undefined, dates, unsupported.
    Null,
}

impl Value {
    /// The text, if it is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The member of an object by its name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        match self {
            Self::Object(members) => members
                .iter()
                .find(|(member, _)| member == name)
                .map(|(_, value)| value),
            _ => None,
        }
    }
}

/// What can be wrong with AMF0 from a stranger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes end within a value.
    #[error("a value is cut short")]
    Short,
    /// A marker that AMF0 does not have, or that cannot stand here.
    #[error("unknown marker {0}")]
    Marker(u8),
    /// Deeper than [`MAX_DEPTH`].
    #[error("nested too deeply")]
    Depth,
    /// More values than [`MAX_VALUES`].
    #[error("too many values")]
    Values,
}

/// Objects within objects; real encoders stay at 2.
pub const MAX_DEPTH: usize = 8;
/// Values in one message, members included; real encoders stay below 40.
pub const MAX_VALUES: usize = 512;

/// All values of a message, one after the other.
///
/// # Errors
/// When the bytes are no AMF0, or exceed a bound.
pub fn read_all(bytes: &[u8]) -> Result<Vec<Value>, Error> {
    let mut reader = Reader {
        bytes,
        budget: MAX_VALUES,
    };
    let mut values = Vec::new();
    while !reader.bytes.is_empty() {
        values.push(reader.value(0)?);
    }
    Ok(values)
}

struct Reader<'a> {
    bytes: &'a [u8],
    budget: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Result<Value, Error> {
        if depth > MAX_DEPTH {
            return Err(Error::Depth);
        }
        self.budget = self.budget.checked_sub(1).ok_or(Error::Values)?;
        let marker = self.array::<1>()?[0];
        Ok(match marker {
            0 => Value::Number(f64::from_be_bytes(self.array()?)),
            1 => Value::Boolean(self.array::<1>()?[0] != 0),
            2 => Value::String(self.short_text()?),
            3 => Value::Object(self.members(depth)?),
            5 | 6 | 13 => Value::Null,
            8 => {
                self.take(4)?;
                Value::Object(self.members(depth)?)
            }
            10 => Value::Array(self.elements(depth)?),
            11 => {
                self.take(10)?;
                Value::Null
            }
            12 | 15 => {
                let len = u32::from_be_bytes(self.array()?) as usize;
                Value::String(text(self.take(len)?))
            }
            16 => {
                self.short_text()?;
                Value::Object(self.members(depth)?)
            }
            marker => return Err(Error::Marker(marker)),
        })
    }

    fn members(&mut self, depth: usize) -> Result<Vec<(String, Value)>, Error> {
        let mut members = Vec::new();
        loop {
            let name = self.short_text()?;
            if name.is_empty() && self.bytes.first() == Some(&9) {
                self.take(1)?;
                return Ok(members);
            }
            members.push((name, self.value(depth + 1)?));
        }
    }

    fn elements(&mut self, depth: usize) -> Result<Vec<Value>, Error> {
        let count = u32::from_be_bytes(self.array()?);
        let mut elements = Vec::new();
        for _ in 0..count {
            elements.push(self.value(depth + 1)?);
        }
        Ok(elements)
    }

    fn short_text(&mut self) -> Result<String, Error> {
        let len = usize::from(u16::from_be_bytes(self.array()?));
        Ok(text(self.take(len)?))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (head, rest) = self.bytes.split_first_chunk::<N>().ok_or(Error::Short)?;
        self.bytes = rest;
        Ok(*head)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Error> {
        let (head, rest) = self.bytes.split_at_checked(len).ok_or(Error::Short)?;
        self.bytes = rest;
        Ok(head)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Appends values to a message.
#[derive(Default)]
pub struct Writer(BytesMut);

impl Writer {
    /// A command's beginning: its name and the transaction it answers.
    #[must_use]
    pub fn command(name: &str, transaction: f64) -> Self {
        Self::default().string(name).number(transaction)
    }

    /// A number.
    #[must_use]
    pub fn number(mut self, number: f64) -> Self {
        self.0.put_u8(0);
        self.0.put_f64(number);
        self
    }

    /// A text; longer ones than the format holds are cut.
    #[must_use]
    pub fn string(mut self, text: &str) -> Self {
        self.0.put_u8(2);
        self.put_text(text);
        self
    }

    /// Null.
    #[must_use]
    pub fn null(mut self) -> Self {
        self.0.put_u8(5);
        self
    }

    /// An object of texts and numbers.
    #[must_use]
    pub fn object(mut self, members: &[(&str, Member<'_>)]) -> Self {
        self.0.put_u8(3);
        for (name, member) in members {
            self.put_text(name);
            self = match member {
                Member::Text(text) => self.string(text),
                Member::Number(number) => self.number(*number),
            };
        }
        self.0.put_slice(&[0, 0, 9]);
        self
    }

    /// The bytes written.
    #[must_use]
    pub fn finish(self) -> BytesMut {
        self.0
    }

    fn put_text(&mut self, text: &str) {
        let bytes = text.as_bytes();
        let len = bytes.len().min(usize::from(u16::MAX));
        self.0.put_u16(len as u16);
        self.0.put_slice(&bytes[..len]);
    }
}

/// What a written object's member may be.
pub enum Member<'a> {
    /// A text.
    Text(&'a str),
    /// A number.
    Number(f64),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let bytes = Writer::command("connect", 1.0)
            .null()
            .object(&[("app", Member::Text("live")), ("n", Member::Number(2.0))])
            .finish();
        let values = read_all(&bytes).unwrap();
        assert_eq!(values[0].as_str(), Some("connect"));
        assert_eq!(values[1], Value::Number(1.0));
        assert_eq!(values[3].get("app").and_then(Value::as_str), Some("live"));
        assert_eq!(values[3].get("n"), Some(&Value::Number(2.0)));
    }

    #[test]
    fn depth_is_bounded() {
        let nested: Vec<u8> = [3, 0, 1, b'a'].repeat(10_000);
        assert_eq!(read_all(&nested), Err(Error::Depth));
    }

    #[test]
    fn an_array_of_four_billion_costs_nothing() {
        assert_eq!(read_all(&[10, 255, 255, 255, 255]), Err(Error::Short));
        let nulls = [&[10, 255, 255, 255, 255][..], &[5; 5000]].concat();
        assert_eq!(read_all(&nulls), Err(Error::Values));
    }
}
