//! `memhp shell`: a guest at a prompt. Commands go to the agent and to QEMU; nothing is judged.

use super::guest::Guest;
use super::host::Host;
use super::spec;
use super::trouble::{Trouble, channel_trouble};
use crate::case::schema;
use crate::kernel::Kernel;
use crate::vm::{Boot, Deadline, Spec, Vm};
use std::io::{BufRead, Write};
use std::time::Duration;
use wire::{Answer, Ask, Value};

const HELP: &str = "plug NAME SIZE [NODE]   plug a DIMM (plug a 1G)
unplug NAME             ask the guest to let it go, and wait for the outcome
blocks                  state and zones of every memory block
cat PATH                a file of the guest
ls PATH                 a directory of the guest
echo TEXT > PATH        write TEXT, one write(2) without newline
dmesg                   the console since the last time
quit                    end (or Ctrl-D)";

/// Boots `kernel` and obeys standard input until `quit` or its end.
///
/// # Errors
/// The guest cannot be started, or does not answer any more.
pub fn run(host: &Host, kernel: &Kernel, append: &str) -> Result<(), Trouble> {
    let wanted = schema::Machine { slots: 16, max_memory: "64G".into(), ..schema::Machine::default() };
    let machine = spec::machine(&wanted, host).map_err(Trouble::Error)?;
    let cmdline = format!("{} {append}", spec::PROBE);
    let boot = Boot { kernel: kernel.boot.clone(), initrd: Some(host.plain_initramfs()?.path), cmdline };
    let spec = Spec::new(host.qemu.clone(), host.accel, machine, Some(boot));
    let vm = Vm::start(spec).map_err(|e| Trouble::Miss(e.to_string()))?;
    let _guard = host.watch_over(&vm);
    say!("memhp: booting {} ({})", kernel.name, kernel.release);
    let hello = vm.channel().hello(deadline(host, 90)).map_err(channel_trouble)?;
    say!("memhp: Linux {} is up; `help` tells the commands", hello.release);
    let mut shell = Shell { guest: Guest::new(vm, hello.page_flags), host, seen: 0 };
    let mut line = String::new();
    loop {
        prompt();
        line.clear();
        match std::io::stdin().lock().read_line(&mut line) {
            Ok(0) => return Ok(()),
            Ok(_) if matches!(line.trim(), "quit" | "exit") => return Ok(()),
            Ok(_) => match shell.obey(line.trim()) {
                Ok(text) => out(&text),
                Err(Trouble::Error(why)) => say!("{why}"),
                Err(other) => return Err(other),
            },
            Err(e) => return Err(Trouble::Error(format!("standard input: {e}"))),
        }
    }
}

fn deadline(host: &Host, seconds: u64) -> Deadline {
    Deadline::within(Duration::from_secs(seconds).mul_f64(host.scale))
}

fn prompt() {
    if rustix::termios::isatty(std::io::stdin()) {
        eprint!("memhp> ");
        // A prompt that does not show harms nothing.
        let _ = std::io::stderr().flush();
    }
}

fn out(text: &str) {
    let mut stdout = std::io::stdout().lock();
    // A closed pipe: the reader has had enough.
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

struct Shell<'a> {
    guest: Guest,
    host: &'a Host,
    seen: u64,
}

impl Shell<'_> {
    fn obey(&mut self, line: &str) -> Result<String, Trouble> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [] => Ok(String::new()),
            ["help"] => Ok(format!("{HELP}\n")),
            ["plug", name, size] => self.plug(name, size, None),
            ["plug", name, size, node] => self.plug(name, size, Some((*node).to_string())),
            ["unplug", name] => self.unplug(name),
            ["blocks"] => self.blocks(),
            ["cat", path] => self.cat(path),
            ["ls", path] => self.names(path).map(|names| names.join("\n") + "\n"),
            ["dmesg"] => Ok(self.dmesg()),
            ["echo", text @ .., ">", path] => {
                match self.guest.write(path, &text.join(" "), deadline(self.host, 60))? {
                    0 => Ok(String::new()),
                    errno => Err(Trouble::Error(format!("{path}: {}", super::errno::name(errno)))),
                }
            }
            _ => Err(Trouble::Error(format!("{line:?} is no command; `help` tells them"))),
        }
    }

    fn plug(&mut self, name: &str, size: &str, node: Option<String>) -> Result<String, Trouble> {
        let (dimm, size) = (name.to_string(), size.to_string());
        let plug = schema::Plug {
            dimm,
            size,
            node,
            slot: None,
            addr: None,
            refused: None,
            race: false,
            within: None,
        };
        let device = self.guest.plug(&plug, deadline(self.host, 30))?.map_err(Trouble::Error)?;
        let osts = self.guest.wait_inserted(name, deadline(self.host, 60))?;
        Ok(format!(
            "{name}: slot {}, node {}, at {:#x}; _OST {osts:?}\n",
            device.slot, device.node, device.addr
        ))
    }

    fn unplug(&mut self, name: &str) -> Result<String, Trouble> {
        self.guest.unplug(name, deadline(self.host, 30))?.map_err(Trouble::Error)?;
        let (outcome, osts, _) = self.guest.unplug_outcome(name, deadline(self.host, 60))?;
        Ok(format!("{name}: {}; _OST {osts:?}\n", outcome.word()))
    }

    fn names(&self, path: &str) -> Result<Vec<String>, Trouble> {
        match self.guest.vm().channel().call(Ask::List { path: path.into() }, deadline(self.host, 30)) {
            Ok(Answer::Names(names)) => Ok(names),
            Ok(other) => Err(Trouble::Error(format!("{path}: {other:?}"))),
            Err(error) => Err(channel_trouble(error)),
        }
    }

    fn cat(&self, path: &str) -> Result<String, Trouble> {
        match self.guest.read(path, deadline(self.host, 30))? {
            Value::Text(text) => Ok(text),
            Value::Errno(errno) => Err(Trouble::Error(format!("{path}: {}", super::errno::name(errno)))),
        }
    }

    fn blocks(&self) -> Result<String, Trouble> {
        let dir = "/sys/devices/system/memory";
        let mut numbers: Vec<u32> =
            self.names(dir)?.iter().filter_map(|n| n.strip_prefix("memory")?.parse().ok()).collect();
        numbers.sort_unstable();
        let mut text = String::new();
        for number in numbers {
            let state = self.cat(&format!("{dir}/memory{number}/state"))?;
            let zones =
                self.cat(&format!("{dir}/memory{number}/valid_zones")).unwrap_or_else(|e| e.to_string());
            text += &format!("memory{number}\t{}\t{}\n", state.trim(), zones.trim());
        }
        Ok(text)
    }

    fn dmesg(&mut self) -> String {
        let console = self.guest.vm().console();
        let lines = console.lines_since(self.seen);
        self.seen = console.end();
        lines.lines.iter().map(|l| l.text.clone() + "\n").collect()
    }
}
