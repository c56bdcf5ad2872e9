//! Drawings as SVG text: shapes in, a document out. Pure, and just what the plots of memhp need.
//!
//! A library would bring fonts and bitmaps; a plot that is pasted into a mail needs lines, bars and words.

use std::fmt::{self, Write};

/// A drawing of a fixed size, in pixels; the origin is at the top left.
#[derive(Debug, Clone, PartialEq)]
pub struct Svg {
    width: f64,
    height: f64,
    body: String,
}

/// Where a text stands from its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// it begins there
    Start,
    /// its middle is there
    Middle,
    /// it ends there
    End,
}

impl Svg {
    /// An empty drawing on white.
    pub fn new(width: f64, height: f64) -> Self {
        Self { width, height, body: String::new() }
    }

    /// A straight line.
    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), colour: &str, width: f64) {
        self.push(format_args!(
            "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\" stroke-width=\"{width}\"/>",
            from.0, from.1, to.0, to.1
        ));
    }

    /// A filled rectangle, `at` its top left; `hint` is shown by a browser under the pointer.
    pub fn rect(&mut self, at: (f64, f64), size: (f64, f64), colour: &str, hint: &str) {
        self.push(format_args!(
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{colour}\">{}</rect>",
            at.0,
            at.1,
            size.0.max(0.0),
            size.1.max(0.0),
            Hint(hint)
        ));
    }

    /// A filled circle.
    pub fn dot(&mut self, at: (f64, f64), radius: f64, colour: &str, hint: &str) {
        self.push(format_args!(
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"{radius}\" fill=\"{colour}\" fill-opacity=\"0.65\">{}</circle>",
            at.0,
            at.1,
            Hint(hint)
        ));
    }

    /// A line of text, `at` its base line.
    pub fn text(&mut self, at: (f64, f64), size: f64, anchor: Anchor, colour: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        self.push(format_args!(
            "<text x=\"{:.1}\" y=\"{:.1}\" font-size=\"{size}\" text-anchor=\"{anchor}\" fill=\"{colour}\">{}</text>",
            at.0,
            at.1,
            Escaped(text)
        ));
    }

    /// The document.
    pub fn finish(self) -> String {
        let Self { width, height, body } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {width:.0} {height:.0}\" font-family=\"sans-serif\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{body}</svg>\n"
        )
    }

    fn push(&mut self, element: fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.body, "{element}");
    }
}

/// Text of an element.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                // Not allowed in XML 1.0, whatever its form.
                c if c.is_control() => f.write_str(" ")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// A title, where there is one.
struct Hint<'a>(&'a str);

impl fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, "<title>{}</title>", Escaped(self.0)) }
    }
}

/// Marks of an axis from 0 to `end`: round numbers (1, 2 or 5 times a power of ten), six to a dozen of them.
pub fn ticks(end: f64) -> Vec<f64> {
    if end.is_nan() || end <= 0.0 || end.is_infinite() {
        return vec![0.0];
    }
    let raw = end / 6.0;
    let power = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).rfind(|s| *s <= raw).unwrap_or(power);
    (0..).map(|n| f64::from(n) * step).take_while(|t| *t <= end * 1.000_001).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_and_not_too_many() {
        assert_eq!(ticks(60.0), [0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0]);
        assert_eq!(ticks(7.0), (0..=7).map(f64::from).collect::<Vec<_>>());
        for end in [0.003, 0.9, 13.0, 99.0, 12_345.0] {
            assert!((6..=16).contains(&ticks(end).len()), "{end}: {:?}", ticks(end));
        }
        for end in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(ticks(end), [0.0]);
        }
    }

    #[test]
    fn text_cannot_become_markup() {
        let mut svg = Svg::new(10.0, 10.0);
        svg.text((1.0, 2.0), 8.0, Anchor::End, "black", "<a>&\u{7}");
        svg.rect((0.0, 0.0), (-1.0, 2.0), "red", "x<y");
        let text = svg.finish();
        assert!(text.contains(">&lt;a&gt;&amp; </text>"), "{text}");
        assert!(
            text.contains("width=\"0.0\" height=\"2.0\" fill=\"red\"><title>x&lt;y</title></rect>"),
            "{text}"
        );
    }
}
