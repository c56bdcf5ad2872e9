//! What cannot be watched in a kernel, by what its guest shows at the boot: nothing of it is judged, whatever the verdict.

use serde_json::Value;
use std::collections::BTreeMap;

/// Files without which something is not judged.
const FILES: [&str; 4] = ["iomem", "pagetypeinfo", "buddyinfo", "vmstat"];
const MEMMAP: &str = "/sys/firmware/memmap";

/// Of an observation; nothing for one that is not of the boot.
pub(super) fn unseen(data: &BTreeMap<String, Value>) -> Vec<String> {
    if data.get("what").and_then(Value::as_str) != Some("boot") {
        return Vec::new();
    }
    let mut all = Vec::new();
    let lacks = |name: &str| data.get("hello").is_some_and(|hello| hello[name] == false);
    for (name, text) in
        [("uevents", "uevents (CONFIG_NET)"), ("page_flags", "page flags (CONFIG_PROC_PAGE_MONITOR)")]
    {
        if lacks(name) {
            all.push(text.to_string());
        }
    }
    let dirs = data.get("settled").and_then(|s| s["snapshot"]["changed"].as_object());
    let Some(dirs) = dirs else { return all };
    let read = |name: &str| dirs.get("/proc").is_some_and(|files| files[name]["text"].is_string());
    all.extend(FILES.iter().filter(|name| !read(name)).map(|name| format!("/proc/{name}")));
    // an old log has no word of it
    if dirs.get("/proc").is_some_and(|files| files["kcore"]["errno"].is_number()) {
        all.push("/proc/kcore (CONFIG_PROC_KCORE)".to_string());
    }
    if !dirs.keys().any(|dir| dir.starts_with(MEMMAP)) {
        all.push(format!("{MEMMAP} (CONFIG_FIRMWARE_MEMMAP)"));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(hello: Value, changed: Value) -> Vec<String> {
        let data =
            json!({ "what": "boot", "hello": hello, "settled": { "snapshot": { "changed": changed } } });
        unseen(&data.as_object().unwrap().clone().into_iter().collect())
    }

    #[test]
    fn what_is_not_there_is_named() {
        let text = json!({ "text": "x" });
        let proc = json!({ "iomem": text, "pagetypeinfo": text, "buddyinfo": text, "vmstat": text });
        let all = json!({ "/proc": proc, "/sys/firmware/memmap/0": {} });
        assert_eq!(of(json!({ "uevents": true, "page_flags": true }), all.clone()), [""; 0]);
        let want = ["uevents (CONFIG_NET)", "page flags (CONFIG_PROC_PAGE_MONITOR)"];
        assert_eq!(of(json!({ "uevents": false, "page_flags": false }), all), want);
        let errno = json!({ "errno": 2 });
        let some =
            json!({ "/proc": { "iomem": text, "buddyinfo": text, "pagetypeinfo": errno, "kcore": errno } });
        let want = [
            "/proc/pagetypeinfo",
            "/proc/vmstat",
            "/proc/kcore (CONFIG_PROC_KCORE)",
            "/sys/firmware/memmap (CONFIG_FIRMWARE_MEMMAP)",
        ];
        assert_eq!(of(json!({ "uevents": true, "page_flags": true }), some), want);
        assert_eq!(unseen(&BTreeMap::from([("what".to_string(), json!("settled"))])), [""; 0]);
    }
}
