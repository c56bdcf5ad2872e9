use super::*;

fn machine() -> Machine {
    Machine {
        arch: Arch::X86_64,
        memory: 512 << 20,
        slots: 4,
        max_memory: 8 << 30,
        smp: 2,
        nodes: Vec::new(),
        cold_dimms: Vec::new(),
        cpu: None,
        extra: Vec::new(),
    }
}

fn line(args: &[String]) -> String {
    args.join(" ")
}

#[test]
fn plain_machine() {
    let m = machine();
    assert_eq!(
        line(&m.machine_args()),
        "-machine q35,vmport=off,memory-backend=ram0 -nodefaults -no-user-config -display none -nic none -no-reboot"
    );
    assert_eq!(
        line(&m.memory_args(&Ram::Private)),
        "-m size=512M,slots=4,maxmem=8192M -object memory-backend-ram,id=ram0,size=536870912,reserve=off"
    );
    assert_eq!(line(&m.dimm_args(&Ram::Private)), "");
}

#[test]
fn no_slots_no_room() {
    let m = Machine { slots: 0, ..machine() };
    assert!(line(&m.memory_args(&Ram::Private)).starts_with("-m size=512M -object "));
}

#[test]
fn emulation_goes_without_cmpxchg16b() {
    let m = machine();
    assert_eq!(line(&m.cpu_args(Accel::Tcg, false)), "-accel tcg -cpu max,-cx16 -smp 2");
    assert_eq!(line(&m.cpu_args(Accel::Kvm, true)), "-accel kvm -cpu host -smp 2");
    let m = Machine { cpu: Some("Westmere".into()), ..m };
    assert_eq!(line(&m.cpu_args(Accel::Tcg, false)), "-accel tcg -cpu Westmere -smp 2");
}

/// Seen: `int3 in sched_clock_cpu` while a guest booted beside others, about one boot of two hundred.
#[test]
fn a_boot_that_patches_its_code_is_emulated_by_one_thread() {
    assert!(line(&machine().cpu_args(Accel::Tcg, true)).starts_with("-accel tcg,thread=single -cpu "));
}

#[test]
fn nodes_have_a_backend_each_and_none_when_empty() {
    let nodes = vec![
        NodeSpec { memory: 256 << 20, cpus: vec![0, 1] },
        NodeSpec { memory: 0, cpus: vec![] },
        NodeSpec { memory: 256 << 20, cpus: vec![] },
    ];
    let m = Machine { nodes, ..machine() };
    assert_eq!(
        line(&m.memory_args(&Ram::Private)),
        "-m size=512M,slots=4,maxmem=8192M \
         -object memory-backend-ram,id=ram0,size=268435456,reserve=off -numa node,nodeid=0,memdev=ram0,cpus=0,cpus=1 \
         -numa node,nodeid=1 \
         -object memory-backend-ram,id=ram2,size=268435456,reserve=off -numa node,nodeid=2,memdev=ram2"
    );
    assert!(!line(&m.machine_args()).contains("memory-backend"));
}

#[test]
fn cold_dimms_and_memory_in_files() {
    let dimm = ColdDimm {
        name: "d0".into(),
        size: 1 << 30,
        node: Some(0),
        slot: Some(3),
        addr: Some(0x1_4000_0000),
    };
    let m = Machine { cold_dimms: vec![dimm], ..machine() };
    assert_eq!(
        line(&m.dimm_args(&Ram::Shared("/t,x".into()))),
        "-object memory-backend-file,id=mem-d0,size=1073741824,mem-path=/t,,x/mem-d0.ram,share=on,reserve=off \
         -device pc-dimm,id=d0,memdev=mem-d0,node=0,slot=3,addr=5368709120"
    );
    assert!(
        line(&m.memory_args(&Ram::CopyOf("/t".into()))).ends_with(
            "memory-backend-file,id=ram0,size=536870912,mem-path=/t/ram0.ram,share=off,reserve=off"
        )
    );
}

#[test]
fn whole_command_line_in_order() {
    let layout = Layout {
        machine: Machine { extra: vec!["-s".into()], ..machine() },
        boot: Some(Boot { kernel: "/k".into(), initrd: Some("/i".into()), cmdline: "panic=-1 x=y".into() }),
        accel: Accel::Tcg,
        ram: Ram::Private,
        incoming: Some("defer".into()),
        paused: true,
        sandbox: true,
    };
    let ends = Ends { console: End::Stdio, agent: End::Fd(7), qmp: End::Listen("/r/qmp".into()) };
    let all = shell_line(Path::new("/usr/bin/q"), &layout.args(&ends));
    assert_eq!(
        all,
        r"/usr/bin/q \
  -machine q35,vmport=off,memory-backend=ram0 \
  -nodefaults \
  -no-user-config \
  -display none \
  -nic none \
  -no-reboot \
  -accel tcg \
  -cpu max,-cx16 \
  -smp 2 \
  -m size=512M,slots=4,maxmem=8192M \
  -object memory-backend-ram,id=ram0,size=536870912,reserve=off \
  -kernel /k \
  -initrd /i \
  -append 'panic=-1 x=y' \
  -chardev stdio,id=console,signal=off \
  -serial chardev:console \
  -chardev socket,id=agent,fd=7 \
  -serial chardev:agent \
  -chardev socket,id=qmp,path=/r/qmp,server=on,wait=off \
  -mon chardev=qmp,mode=control \
  -sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny \
  -incoming defer \
  -S \
  -s
"
    );
}

#[test]
fn a_shell_reads_back_what_was_quoted() {
    assert_eq!(quote("it's"), r"'it'\''s'");
    assert_eq!(quote(""), "''");
    assert_eq!(quote("a$b"), "'a$b'");
}
