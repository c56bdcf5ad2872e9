//! Memory and disk of the host, and the peer.

use super::{Bench, CASE, Figure, log, ms};
use anyhow::{Context, Result};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use xshell::cmd;

impl Bench<'_> {
    /// The most that a restored guest takes while a short scenario runs, and templates on disk.
    pub(super) fn memory(&mut self, kernel: &str) -> Result<()> {
        let mut pss = Vec::new();
        for _ in 0..self.turns {
            pss.push(self.most_pss(kernel)?);
        }
        let pss = Figure::of(pss.into_iter().map(Ok), "MiB")?;
        self.say(kernel, "PSS of a restored guest, greatest in a short scenario", &[("fork", pss)], None);
        let templates = fs::read_dir(cache()?.join("templates"))?.flatten().map(|e| e.path());
        let sizes =
            templates.filter(|p| p.is_dir()).map(|dir| Ok(on_disk(&dir)? as f64 / f64::from(1 << 20)));
        let sizes = Figure::of(sizes, "MiB")?;
        self.say(kernel, "templates on disk, of all kernels", &[("one", sizes)], None);
        Ok(())
    }

    /// The bzImage of a packaged kernel.
    pub(super) fn image(&self, kernel: &str) -> Result<PathBuf> {
        let (sh, memhp) = (self.sh, &self.memhp);
        let list = cmd!(sh, "{memhp} kernels --format json").quiet().read()?;
        image_of(&list, kernel)?.with_context(|| format!("no image of {kernel} at hand"))
    }

    fn most_pss(&self, kernel: &str) -> Result<f64> {
        let dir = self.sh.create_temp_dir()?;
        let mut memhp = Command::new(&self.memhp)
            .args(["run", CASE, "-k", kernel, "-j1", "--boot", "fork", "--out"])
            .arg(dir.path().join("out"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut most = 0.0f64;
        while memhp.try_wait()?.is_none() {
            for child in children(memhp.id()) {
                most = pss_kib(child).map_or(most, |kib| most.max(kib / 1024.0));
            }
            std::thread::sleep(Duration::from_millis(20)); // a sample, not a wait
        }
        super::forked(&log(&dir.path().join("out"))?)?;
        Ok(most)
    }

    /// virtme-ng boots the same kernel to a command; what it says is shown where it cannot.
    pub(super) fn peer(&mut self, kernel: &str) -> Result<()> {
        let sh = self.sh;
        let dir = sh.create_temp_dir()?;
        let (packages, out) = (dir.path().join("packages"), dir.path().join("out"));
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"];
        cmd!(sh, "python3 {pip...} {packages} virtme-ng").quiet().run()?;
        let (memhp, image) = (&self.memhp, self.image(kernel)?);
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..self.turns {
            let begun = Instant::now();
            let vng = packages.join("bin/vng");
            let options = ["--disable-kvm", "--force-9p", "--user", "root", "--exec", "true"];
            let peer = cmd!(sh, "timeout 300 {vng} --run {image} {options...}").env("PYTHONPATH", &packages);
            let output = peer.quiet().ignore_status().output()?;
            if !output.status.success() {
                let why = String::from_utf8_lossy(&output.stderr);
                println!("{kernel}\tvirtme-ng does not boot it: {}", why.lines().last().unwrap_or("no word"));
                return Ok(());
            }
            theirs.push(begun.elapsed().as_secs_f64() * 1e3);
            cmd!(sh, "{memhp} run {CASE} -k {kernel} -j1 --boot fork --out {out}")
                .quiet()
                .ignore_stdout()
                .run()?;
            ours.push(super::forked(&log(&out)?).and_then(|end| ms(&end, "boot_ns"))?);
            fs::remove_dir_all(&out)?;
        }
        let (ours, theirs) =
            (Figure::of(ours.into_iter().map(Ok), "ms")?, Figure::of(theirs.into_iter().map(Ok), "ms")?);
        let ratio = theirs.median / ours.median;
        self.say(kernel, "to the first command", &[("virtme-ng", theirs), ("fork", ours)], Some(ratio));
        Ok(())
    }
}

/// The bzImage of a packaged kernel in the list of `memhp kernels --format json`, where it was fetched.
fn image_of(list: &str, kernel: &str) -> Result<Option<PathBuf>> {
    let list: serde_json::Value = serde_json::from_str(list)?;
    let entry = list.as_array().into_iter().flatten().find(|k| k["name"] == kernel);
    let Some(release) = entry.and_then(|e| e["pin"]["release"].as_str()) else { return Ok(None) };
    let kept = fs::read_dir(cache()?.join("packages"))?.flatten().map(|e| e.path());
    let named = |dir: &PathBuf| {
        dir.file_name().is_some_and(|n| n.to_string_lossy().starts_with(&format!("{release}-")))
    };
    Ok(kept.filter(named).map(|dir| dir.join("vmlinuz")).find(|image| image.is_file()))
}

fn cache() -> Result<PathBuf> {
    let own = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
    Ok(own.or_else(home).context("neither XDG_CACHE_HOME nor HOME is set")?.join("memhp"))
}

fn on_disk(dir: &Path) -> Result<u64> {
    let files = fs::read_dir(dir)?.flatten().filter_map(|file| file.metadata().ok());
    Ok(files.map(|m| m.blocks() * 512).sum())
}

fn children(parent: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
    let texts = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    texts
        .flat_map(|text| text.split_whitespace().filter_map(|n| n.parse().ok()).collect::<Vec<_>>())
        .collect()
}

fn pss_kib(pid: u32) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    text.lines().find_map(|l| l.strip_prefix("Pss:")?.trim().strip_suffix(" kB")?.trim().parse().ok())
}
