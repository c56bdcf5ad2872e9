//! A map that keeps the order of the file.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;

/// Axis names with their values, in file order; a name that comes twice is an error.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Axes(pub Vec<(String, Vec<String>)>);

impl Axes {
    /// No axis.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Axes {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_map(self.0.iter().map(|(k, v)| (k, v)))
    }
}

impl<'de> Deserialize<'de> for Axes {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Axes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of axis names to lists of values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Axes, A::Error> {
                let mut axes: Vec<(String, Vec<String>)> = Vec::new();
                while let Some((name, values)) = map.next_entry::<String, Vec<String>>()? {
                    if axes.iter().any(|(n, _)| *n == name) {
                        return Err(A::Error::custom(format!("axis {name} comes twice")));
                    }
                    axes.push((name, values));
                }
                Ok(Axes(axes))
            }
        }
        d.deserialize_map(InOrder)
    }
}

impl JsonSchema for Axes {
    fn schema_name() -> Cow<'static, str> {
        "Axes".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        <std::collections::BTreeMap<String, Vec<String>>>::json_schema(generator)
    }
}
