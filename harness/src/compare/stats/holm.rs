//! Holm's correction for several comparisons (S. Holm, A simple sequentially rejective multiple test procedure, 1979).

/// Corrected p values, in the order of `p`: the chance of one false alarm among all of them is at most the level that
/// each is compared with.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    let mut corrected = vec![0.0; p.len()];
    let mut greatest: f64 = 0.0;
    for (rank, index) in order.into_iter().enumerate() {
        #[allow(clippy::cast_precision_loss)] // numbers of comparisons
        let factor = (p.len() - rank) as f64;
        greatest = greatest.max((p[index] * factor).min(1.0));
        corrected[index] = greatest;
    }
    corrected
}

#[cfg(test)]
mod tests {
    use super::holm;

    /// By hand: sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1, none less than the one before.
    #[test]
    fn by_hand() {
        let near = |a: Vec<f64>, b: &[f64]| {
            assert!(a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12), "{a:?}");
        };
        near(holm(&[0.04, 0.01, 0.03, 0.02]), &[0.06, 0.04, 0.06, 0.06]);
        near(holm(&[0.5, 0.001]), &[0.5, 0.002]);
        near(holm(&[0.9, 0.8]), &[1.0, 1.0]);
        near(holm(&[0.2]), &[0.2]);
        near(holm(&[]), &[]);
    }
}
