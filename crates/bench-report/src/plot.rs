//! Latency against throughput: the runs whose messages were due at fixed times.

use std::ops::Range;

use anyhow::anyhow;
use plotters::prelude::*;

use crate::run::{Load, Mode, Pace, Results};

const SIZE: (u32, u32) = (860, 500);
const FONT: &str = "sans-serif";

/// One line of the plot.
struct Line {
    label: &'static str,
    mode: Mode,
    color: RGBColor,
    millis: fn(&Load) -> f64,
}

const LINES: [Line; 5] = [
    Line {
        label: "nodes: receipt to DELIVERED p99",
        mode: Mode::Nodes,
        color: RGBColor(0x2c, 0x7f, 0x3f),
        millis: |load| load.delivery_latency.p99,
    },
    Line {
        label: "nodes: accept p99",
        mode: Mode::Nodes,
        color: RGBColor(0x1f, 0x4e, 0x9c),
        millis: |load| load.accept_latency.p99,
    },
    Line {
        label: "nodes: accept p50",
        mode: Mode::Nodes,
        color: RGBColor(0x7f, 0xab, 0xe0),
        millis: |load| load.accept_latency.p50,
    },
    Line {
        label: "embedded: accept p99",
        mode: Mode::Embedded,
        color: RGBColor(0xb0, 0x4a, 0x1c),
        millis: |load| load.accept_latency.p99,
    },
    Line {
        label: "embedded: accept p50",
        mode: Mode::Embedded,
        color: RGBColor(0xea, 0xa8, 0x7c),
        millis: |load| load.accept_latency.p50,
    },
];

impl Line {
    /// Messages due per second and milliseconds, by the former.
    fn points(&self, results: &Results) -> Vec<(f64, f64)> {
        let loads = results.of(self.mode, Pace::Open);
        let mut points: Vec<_> = loads
            .into_iter()
            .map(|load| (load.rate.unwrap_or_default() as f64, (self.millis)(load)))
            // A logarithm is of nothing else.
            .filter(|(rate, millis)| *rate > 0.0 && *millis > 0.0)
            .collect();
        points.sort_by(|one, other| one.0.total_cmp(&other.0));
        points
    }
}

/// As SVG.
pub(crate) fn draw(results: &Results) -> anyhow::Result<String> {
    let mut svg = String::new();
    draw_on(&mut svg, results).map_err(|error| anyhow!("the plot cannot be drawn: {error}"))?;
    Ok(svg)
}

fn draw_on(svg: &mut String, results: &Results) -> Result<(), Box<dyn std::error::Error>> {
    let lines = LINES.map(|line| (line.points(results), line));
    let all = || lines.iter().flat_map(|(points, _)| points);
    let rates = decades(all().map(|(rate, _)| *rate));
    let millis = decades(all().map(|(_, millis)| *millis));

    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(12)
        .margin_right(28)
        .x_label_area_size(44)
        .y_label_area_size(66)
        .build_cartesian_2d(rates.log_scale(), millis.log_scale())?;
    chart
        .configure_mesh()
        .x_desc("messages due per second")
        .y_desc("milliseconds")
        .x_label_formatter(&|rate| format!("{rate}"))
        .y_label_formatter(&|millis| format!("{millis}"))
        .label_style((FONT, 14))
        .axis_desc_style((FONT, 15))
        .light_line_style(RGBColor(0xee, 0xee, 0xee))
        .bold_line_style(RGBColor(0xcc, 0xcc, 0xcc))
        .draw()?;
    for (points, Line { label, color, .. }) in lines.iter().filter(|(points, _)| !points.is_empty()) {
        let (color, dots) = (*color, points.iter().map(|point| Circle::new(*point, 3, color.filled())));
        chart
            .draw_series(LineSeries::new(points.iter().copied(), color.stroke_width(2)))?
            .label(*label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
        chart.draw_series(dots)?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE)
        .border_style(RGBColor(0xcc, 0xcc, 0xcc))
        .label_font((FONT, 14))
        .draw()?;
    area.present()?;
    Ok(())
}

/// Whole powers of ten around all of them.
fn decades(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (least, most) =
        values.fold((f64::MAX, f64::MIN), |(least, most), value| (value.min(least), value.max(most)));
    if least > most {
        return 1.0..10.0;
    }
    let from = least.log10().floor();
    let to = most.log10().ceil().max(from + 1.0);
    10_f64.powf(from)..10_f64.powf(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_has_whole_decades() {
        for (values, from, to) in
            [(vec![30.0, 2_000.0], 10.0, 10_000.0), (vec![10.0], 10.0, 100.0), (vec![], 1.0, 10.0)]
        {
            let range = decades(values.into_iter());
            assert!((range.start - from).abs() < 1e-6 && (range.end - to).abs() < 1e-6, "{range:?}");
        }
    }
}
