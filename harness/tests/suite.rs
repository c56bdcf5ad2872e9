//! The corpus as a test suite: one test a scenario, through libtest-mimic (filters, `--list`, nextest's protocol).
//!
//! `MEMHP_KERNELS` names the kernels (blanks between), as `-k` does; `MEMHP_CASES` the patterns. What is skipped is
//! decided while listing: such a scenario is an ignored test. Each test is one run of the command, so that what a user
//! gets is what is tested; known issues count as known, and ERROR and MISS fail.

use libtest_mimic::{Arguments, Failed, Trial};
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let kernels = words("MEMHP_KERNELS");
    match list(&kernels, &words("MEMHP_CASES")) {
        Ok(trials) => libtest_mimic::run(&arguments, trials).exit_code(),
        Err(why) => {
            eprintln!("the corpus cannot be listed: {why}");
            ExitCode::FAILURE
        }
    }
}

fn words(variable: &str) -> Vec<String> {
    std::env::var(variable).unwrap_or_default().split_whitespace().map(str::to_string).collect()
}

fn memhp() -> Command {
    Command::new(env!("CARGO_BIN_EXE_memhp"))
}

fn kernel_options(kernels: &[String]) -> Vec<&str> {
    kernels.iter().flat_map(|k| ["-k", k]).collect()
}

fn list(kernels: &[String], patterns: &[String]) -> Result<Vec<Trial>, String> {
    let mut command = memhp();
    let output = command.arg("list").args(patterns).args(kernel_options(kernels)).output();
    let output = output.map_err(|e| e.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let text = String::from_utf8(output.stdout).map_err(|e| e.to_string())?;
    text.lines().map(|line| trial(line, kernels)).collect()
}

fn trial(line: &str, kernels: &[String]) -> Result<Trial, String> {
    let mut fields = line.split('\t');
    let (Some(id), Some(what)) = (fields.next(), fields.next()) else {
        return Err(format!("not a line of `memhp list`: {line:?}"));
    };
    let (id, kernels) = (id.to_string(), kernels.to_vec());
    let name = id.clone();
    Ok(Trial::test(name, move || one(&id, &kernels)).with_ignored_flag(what == "skip"))
}

fn one(id: &str, kernels: &[String]) -> Result<(), Failed> {
    let out = tempfile::tempdir()?;
    let mut command = memhp();
    command.args(["run", "-j1", "--out"]).arg(out.path()).args(kernel_options(kernels)).arg(id);
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    Err(String::from_utf8_lossy(&text).into_owned().into())
}
