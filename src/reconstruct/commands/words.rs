//! Whether a text names the command that a record logs: the words of scripts, and aliases.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

use chrono::TimeDelta;
use regex::Regex;

use crate::model::file_name;
use crate::reconstruct::windows::STEP_WINDOW;

/// Longest value of a parameter that is looked for in a script.
const LONGEST_VALUE: usize = 256;
/// Shortest word that makes a value distinctive.
const SHORTEST_WORD: usize = 4;
/// Most values of one record that are looked for.
const MOST_VALUES: usize = 16;

/// The words of a text, lower case, as keyed hashes. A script of a megabyte is split once, however
/// many records may belong to it. For look-up only.
#[derive(Debug, Default)]
pub(super) struct TextWords {
    keys: RandomState,
    all: HashSet<u64>,
}

impl TextWords {
    pub fn from_text(text: &str) -> TextWords {
        let mut words = TextWords::default();
        for_each_word(text, |word| {
            let key = words.keys.hash_one(word);
            words.all.insert(key);
        });
        words
    }

    fn contains(&self, word: &str) -> bool {
        self.all.contains(&self.keys.hash_one(word))
    }

    /// Returns true if the text contains the name of a command or program, or one of its aliases.
    fn mentions(&self, command: &str) -> bool {
        let name = file_name(command);
        let name = name.strip_suffix(".exe").unwrap_or(&name);
        let mut words = 0;
        let mut all = true;
        for_each_word(name, |word| {
            words += 1;
            all &= self.contains(word);
        });
        (words > 0 && all) || aliases(name).iter().any(|alias| self.contains(alias))
    }

    /// Returns true if the text contains all words of a value, and one of them is distinctive.
    fn contains_value(&self, value: &str) -> bool {
        let (mut is_telling, mut all) = (false, value.len() <= LONGEST_VALUE);
        if all {
            for_each_word(value, |word| {
                is_telling |= word.len() >= SHORTEST_WORD;
                all &= self.contains(word);
            });
        }
        is_telling && all
    }

    /// Returns true if the text can have run the commands: it names all of them and, unless they
    /// ran at once, contains one of their values.
    pub fn may_have_run<'v>(
        &self,
        commands: &[impl AsRef<str>],
        mut values: impl Iterator<Item = &'v str>,
        later: TimeDelta,
    ) -> bool {
        !commands.is_empty()
            && commands.iter().all(|command| self.mentions(command.as_ref()))
            && (later <= STEP_WINDOW || values.any(|value| self.contains_value(value)))
    }
}

/// Calls `take` with each word of a text, in lower case. All characters that PowerShell accepts as
/// a dash are one.
fn for_each_word(text: &str, mut take: impl FnMut(&str)) {
    let mut word = String::new();
    let mut end = |word: &mut String| {
        let bare = word.trim_matches('-');
        if !bare.is_empty() {
            take(bare);
        }
        word.clear();
    };
    for c in text.chars() {
        match c {
            '\u{2013}' | '\u{2014}' | '\u{2015}' => word.push('-'),
            '-' | '_' => word.push(c),
            // `%` and `?` are aliases of ForEach-Object and Where-Object.
            '%' | '?' => {
                end(&mut word);
                end(&mut c.to_string());
            }
            _ if c.is_alphanumeric() => word.extend(c.to_lowercase()),
            _ => end(&mut word),
        }
    }
    end(&mut word);
}

/// Returns the values of an invocation's parameters, as `normalise` writes them.
pub(super) fn parameter_values(invocation: &str) -> impl Iterator<Item = &str> {
    static VALUE: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r#"-[^\s"]+ "([^"]*)""#).expect("fixed"));
    let found = VALUE.captures_iter(invocation).take(MOST_VALUES);
    found.filter_map(|found| found.get(1).map(|value| value.as_str()))
}

/// Returns the aliases of a command that Windows PowerShell 5.1 starts with (from its `Get-Alias`),
/// in lower case. 4103 logs the command, even if an alias was typed.
fn aliases(command: &str) -> &'static [&'static str] {
    match command {
        "add-content" => &["ac"],
        "add-pssnapin" => &["asnp"],
        "clear-content" => &["clc"],
        "clear-history" => &["clhy"],
        "clear-host" => &["clear", "cls"],
        "clear-item" => &["cli"],
        "clear-itemproperty" => &["clp"],
        "clear-variable" => &["clv"],
        "compare-object" => &["compare", "diff"],
        "connect-pssession" => &["cnsn"],
        "convert-path" => &["cvpa"],
        "copy-item" => &["copy", "cp", "cpi"],
        "copy-itemproperty" => &["cpp"],
        "disable-psbreakpoint" => &["dbp"],
        "disconnect-pssession" => &["dnsn"],
        "enable-psbreakpoint" => &["ebp"],
        "enter-pssession" => &["etsn"],
        "exit-pssession" => &["exsn"],
        "export-alias" => &["epal"],
        "export-csv" => &["epcsv"],
        "export-pssession" => &["epsn"],
        "foreach-object" => &["%", "foreach"],
        "format-custom" => &["fc"],
        "format-hex" => &["fhx"],
        "format-list" => &["fl"],
        "format-table" => &["ft"],
        "format-wide" => &["fw"],
        "get-alias" => &["gal"],
        "get-childitem" => &["dir", "gci", "ls"],
        "get-clipboard" => &["gcb"],
        "get-command" => &["gcm"],
        "get-computerinfo" => &["gin"],
        "get-content" => &["cat", "gc", "type"],
        "get-help" => &["help", "man"],
        "get-history" => &["ghy", "h", "history"],
        "get-item" => &["gi"],
        "get-itemproperty" => &["gp"],
        "get-itempropertyvalue" => &["gpv"],
        "get-job" => &["gjb"],
        "get-location" => &["gl", "pwd"],
        "get-member" => &["gm"],
        "get-module" => &["gmo"],
        "get-process" => &["gps", "ps"],
        "get-psbreakpoint" => &["gbp"],
        "get-pscallstack" => &["gcs"],
        "get-psdrive" => &["gdr"],
        "get-pssession" => &["gsn"],
        "get-pssnapin" => &["gsnp"],
        "get-service" => &["gsv"],
        "get-timezone" => &["gtz"],
        "get-unique" => &["gu"],
        "get-variable" => &["gv"],
        "get-wmiobject" => &["gwmi"],
        "group-object" => &["group"],
        "import-alias" => &["ipal"],
        "import-csv" => &["ipcsv"],
        "import-module" => &["ipmo"],
        "import-pssession" => &["ipsn"],
        "invoke-command" => &["icm"],
        "invoke-expression" => &["iex"],
        "invoke-history" => &["ihy", "r"],
        "invoke-item" => &["ii"],
        "invoke-restmethod" => &["irm"],
        "invoke-webrequest" => &["curl", "iwr", "wget"],
        "invoke-wmimethod" => &["iwmi"],
        "measure-object" => &["measure"],
        "mkdir" => &["md"],
        "move-item" => &["mi", "move", "mv"],
        "move-itemproperty" => &["mp"],
        "new-alias" => &["nal"],
        "new-item" => &["ni"],
        "new-module" => &["nmo"],
        "new-psdrive" => &["mount", "ndr"],
        "new-pssession" => &["nsn"],
        "new-pssessionconfigurationfile" => &["npssc"],
        "new-variable" => &["nv"],
        "out-gridview" => &["ogv"],
        "out-host" => &["oh"],
        "out-printer" => &["lp"],
        "pop-location" => &["popd"],
        "powershell_ise" => &["ise"],
        "push-location" => &["pushd"],
        "receive-job" => &["rcjb"],
        "receive-pssession" => &["rcsn"],
        "remove-item" => &["del", "erase", "rd", "ri", "rm", "rmdir"],
        "remove-itemproperty" => &["rp"],
        "remove-job" => &["rjb"],
        "remove-module" => &["rmo"],
        "remove-psbreakpoint" => &["rbp"],
        "remove-psdrive" => &["rdr"],
        "remove-pssession" => &["rsn"],
        "remove-pssnapin" => &["rsnp"],
        "remove-variable" => &["rv"],
        "remove-wmiobject" => &["rwmi"],
        "rename-item" => &["ren", "rni"],
        "rename-itemproperty" => &["rnp"],
        "resolve-path" => &["rvpa"],
        "resume-job" => &["rujb"],
        "select-object" => &["select"],
        "select-string" => &["sls"],
        "set-alias" => &["sal"],
        "set-clipboard" => &["scb"],
        "set-content" => &["sc"],
        "set-item" => &["si"],
        "set-itemproperty" => &["sp"],
        "set-location" => &["cd", "chdir", "sl"],
        "set-psbreakpoint" => &["sbp"],
        "set-timezone" => &["stz"],
        "set-variable" => &["set", "sv"],
        "set-wmiinstance" => &["swmi"],
        "show-command" => &["shcm"],
        "sort-object" => &["sort"],
        "start-job" => &["sajb"],
        "start-process" => &["saps", "start"],
        "start-service" => &["sasv"],
        "start-sleep" => &["sleep"],
        "stop-job" => &["spjb"],
        "stop-process" => &["kill", "spps"],
        "stop-service" => &["spsv"],
        "suspend-job" => &["sujb"],
        "tee-object" => &["tee"],
        "trace-command" => &["trcm"],
        "wait-job" => &["wjb"],
        "where-object" => &["?", "where"],
        "write-output" => &["echo", "write"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may_have_run(text: &str, commands: &[&str], invocation: &str, later: i64) -> bool {
        TextWords::from_text(text).may_have_run(
            commands,
            parameter_values(invocation),
            TimeDelta::seconds(later),
        )
    }

    #[test]
    fn names_and_aliases_at_once_and_values_later() {
        let line = r#"GSV -Name spooler | ? { $_.Status }; & "C:\Tools\Do It.exe" /q"#;
        assert!(may_have_run(line, &["Get-Service", "Where-Object"], "", 1));
        assert!(may_have_run(line, &["Do It.exe"], "", 1));
        assert!(!may_have_run(line, &["Get-Service", "Get-Item"], "", 1));
        assert!(!may_have_run(line, &["Get-ServiceX"], "", 1));
        // Much later a name alone is not a link.
        let bound = |value: &str| format!("Get-Service -Name \"{value}\"");
        assert!(!may_have_run(line, &["Get-Service"], "Get-Service", 60));
        assert!(may_have_run(line, &["Get-Service"], &bound("Spooler"), 60));
        assert!(!may_have_run(line, &["Get-Service"], &bound("WinRM"), 60));
        assert!(!may_have_run(line, &[], "", 0));
    }
}
