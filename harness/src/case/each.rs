//! `each`: steps that are done once for every number of a range, with `${n}` replaced by it. Pure.

use super::schema::{Each, Step};
use serde_json::Value;
use std::ops::RangeInclusive;

/// What stands for the number.
pub(crate) const NUMBER: &str = "n";

impl Each {
    /// The numbers of `of`: `0..255`, inclusive.
    ///
    /// # Errors
    /// A lowercase fragment: it is no such range.
    pub fn numbers(&self) -> Result<RangeInclusive<u32>, String> {
        let wrong = || format!("want two numbers as 0..255, the second one not the smaller: {:?}", self.of);
        let (first, last) = self.of.split_once("..").ok_or_else(wrong)?;
        let number = |text: &str| text.parse::<u32>().map_err(|_| wrong());
        let (first, last) = (number(first)?, number(last)?);
        if first <= last && last - first < 4096 { Ok(first..=last) } else { Err(wrong()) }
    }

    /// The steps for one number.
    ///
    /// # Errors
    /// A lowercase fragment: what comes out is no step.
    pub fn steps_for(&self, number: u32) -> Result<Vec<Step>, String> {
        let value = serde_json::to_value(&self.steps).map_err(|e| e.to_string())?;
        serde_json::from_value(replaced(value, &number.to_string())).map_err(|e| e.to_string())
    }
}

fn replaced(value: Value, number: &str) -> Value {
    match value {
        Value::String(text) => Value::String(text.replace(&format!("${{{NUMBER}}}"), number)),
        Value::Array(all) => all.into_iter().map(|v| replaced(v, number)).collect(),
        Value::Object(map) => map.into_iter().map(|(key, v)| (key, replaced(v, number))).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::schema::{Order, Plug, Unplug};

    fn each(of: &str, steps: Vec<Step>) -> Each {
        Each { of: of.into(), order: Order::AsGiven, steps }
    }

    #[test]
    fn the_number_is_put_in_everywhere() {
        let unplug = |name: &str| Step::Unplug(Unplug { dimm: name.into(), refused: None, by_guest: false });
        let each = each("3..4", vec![unplug("d${n}"), unplug("x${n}y${n}")]);
        assert_eq!(each.numbers(), Ok(3..=4));
        assert_eq!(each.steps_for(4), Ok(vec![unplug("d4"), unplug("x4y4")]));
        let plug = Plug { dimm: "a".into(), size: "128M".into(), slot: Some("${n}".into()), ..plug() };
        let steps = Each { steps: vec![Step::Plug(plug.clone())], ..each }.steps_for(7);
        assert_eq!(steps, Ok(vec![Step::Plug(Plug { slot: Some("7".into()), ..plug })]));
    }

    fn plug() -> Plug {
        let (dimm, size) = (String::new(), String::new());
        Plug { dimm, size, node: None, slot: None, addr: None, refused: None, race: false, within: None }
    }

    #[test]
    fn ranges_are_checked() {
        for bad in ["", "1", "2..1", "a..b", "0..", "0..5000", "-1..2"] {
            assert!(each(bad, Vec::new()).numbers().is_err(), "{bad}");
        }
    }
}
