//! Commands that PowerShell runs by itself.
//!
//! A row is marked as the engine's own by its whole content, never by the name of a command: an
//! attacker could use or redefine the name.
//!
//! - Scripts: the whole text is one of [`ENGINE_SCRIPTS`]. A text that is exactly this does exactly
//!   this, whoever sent it. `prompt` can be redefined; then the commands that it runs get rows of
//!   their own, which are not the engine's.
//! - Proxy functions, which the engine makes for restricted sessions: parameters without defaults
//!   or conditions, and the body that `ProxyCommand.Create` writes, for one of
//!   [`PROXIED_COMMANDS`]. With any other word in it the text is a normal script.
//! - `Out-Default` alone: the end of each line's pipeline, which is logged separately. In a
//!   pipeline with other commands it is a part of what was typed.
//! - `Get-Command` with the one parameter that Enter-PSSession gives it before it shows a prompt
//!   (`RunspaceRef.Override` in PowerShell's source: the names `Out-Default` and `Exit-PSSession`).
//! - `TabExpansion2` with a line and a cursor: the user pressed Tab.
//!
//! The commands that implicit remoting (Import-PSSession) runs on the target are not marked. They
//! have the parameters of the caller and look like commands of a person.

use std::sync::LazyLock;

use regex::Regex;

/// The whole texts of scripts that the engine runs.
const ENGINE_SCRIPTS: [&str; 7] = [
    // The client asks for a prompt after each line of Enter-PSSession, and for the result of the
    // line.
    "prompt",
    "$global:?",
    // The default prompt, and the scripts that format errors.
    "\"PS $($executionContext.SessionState.Path.CurrentLocation)$('>' * ($nestedPromptLevel + 1)) \"",
    "{ Set-StrictMode -Version 1; $_.PSMessageDetails }",
    "{ Set-StrictMode -Version 1; $_.ErrorCategory_Message }",
    "{ Set-StrictMode -Version 1; $_.OriginInfo }",
    "{ Set-StrictMode -Version 1; $this.Exception.InnerException.PSMessageDetails }",
];

/// The commands for which a restricted session has proxy functions
/// (`InitialSessionState.CreateRestricted` with `SessionCapabilities.RemoteServer`).
const PROXIED_COMMANDS: [&str; 7] = [
    "Get-Command",
    "Get-FormatData",
    "Select-Object",
    "Get-Help",
    "Measure-Object",
    "Exit-PSSession",
    "Out-Default",
];

/// Longest text that is checked for a proxy function, in bytes.
const LONGEST_PROXY: usize = 1 << 14;

/// Returns true if the engine itself runs a script with this text.
pub(super) fn is_engine_script(text: &str) -> bool {
    let text = text.trim();
    ENGINE_SCRIPTS.contains(&text) || (text.len() <= LONGEST_PROXY && is_proxy_function(text))
}

/// Returns true if a text is a proxy function that the engine makes.
fn is_proxy_function(text: &str) -> bool {
    // Attributes contain no braces, so no code can hide in them. Parameters have no defaults.
    static PROXY: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(concat!(
            r"(?s)^\{?\s*\[CmdletBinding\([^{}()$`]*\)\]\s*param\(",
            r"(?:\s*(?:\[[\w.]+(?:\((?:[^{}()$`]|\$true|\$false)*\))?(?:\[\])?\]\s*)*",
            r"\$\{\w+\},?)*\s*\)\s*",
            r"begin\s*\{\s*try \{\s*",
            r"\$outBuffer = \$null\s*",
            r"if \(\$PSBoundParameters\.TryGetValue\('OutBuffer', \[ref\]\$outBuffer\)\)\s*",
            r"\{\s*\$PSBoundParameters\['OutBuffer'\] = 1\s*\}\s*",
            r"\$wrappedCmd = \$ExecutionContext\.InvokeCommand\.GetCommand\(",
            r"'(?:Microsoft\.PowerShell\.\w+\\)?([\w-]+)', ",
            r"\[System\.Management\.Automation\.CommandTypes\]::Cmdlet\)\s*",
            r"\$scriptCmd = \{& \$wrappedCmd @PSBoundParameters \}\s*",
            r"\$steppablePipeline = \$scriptCmd\.GetSteppablePipeline\(",
            r"\$myInvocation\.CommandOrigin\)\s*",
            r"\$steppablePipeline\.Begin\(\$PSCmdlet\)\s*\} catch \{\s*throw\s*\}\s*\}\s*",
            r"process\s*\{\s*try \{\s*\$steppablePipeline\.Process\(\$_\)\s*\} ",
            r"catch \{\s*throw\s*\}\s*\}\s*",
            r"end\s*\{\s*try \{\s*\$steppablePipeline\.End\(\)\s*\} ",
            r"catch \{\s*throw\s*\}\s*\}\s*",
            r"(?:<#[^#]*#>\s*)?\}?$",
        ))
        .expect("fixed")
    });
    let found = PROXY.captures(text);
    found.is_some_and(|found| {
        PROXIED_COMMANDS.iter().any(|name| name.eq_ignore_ascii_case(&found[1]))
    })
}

/// Returns true if the engine itself makes this invocation, in a session or outside.
pub(super) fn is_engine_invocation(
    names: &[String],
    text: &str,
    command_type: &str,
    remote: bool,
) -> bool {
    static TAB: LazyLock<Regex> = LazyLock::new(|| {
        let tab =
            r#"(?s)^TabExpansion2 -inputScript ".*" -cursorColumn "\d+"( -options "[^"]*")?$"#;
        Regex::new(tab).expect("fixed")
    });
    // A function of this name is not the engine's own.
    let cmdlet = matches!(command_type, "Cmdlet" | "");
    let all = |name: &str| names.iter().all(|other| other.eq_ignore_ascii_case(name));
    match names.first() {
        Some(_) if all("Out-Default") => cmdlet,
        Some(_) if remote && all("Get-Command") => {
            cmdlet && text == r#"Get-Command -Name "Out-Default, Exit-PSSession""#
        }
        Some(_) if remote && all("TabExpansion2") => TAB.is_match(text),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As written by `[System.Management.Automation.ProxyCommand]::Create`.
    const PROXY: &str = "[CmdletBinding(HelpUri='https://go.microsoft.com/fwlink/?LinkID=113362')]\r
param(
    [ValidateRange(0, 1)]
    [switch]
    ${Transcript},

    [Parameter(ValueFromPipeline=$true)]
    [psobject]
    ${InputObject})

begin
{
    try {
        $outBuffer = $null
        if ($PSBoundParameters.TryGetValue('OutBuffer', [ref]$outBuffer))
        {
            $PSBoundParameters['OutBuffer'] = 1
        }
        $wrappedCmd = $ExecutionContext.InvokeCommand.GetCommand('Microsoft.PowerShell.Core\\Out-Default', [System.Management.Automation.CommandTypes]::Cmdlet)
        $scriptCmd = {& $wrappedCmd @PSBoundParameters }
        $steppablePipeline = $scriptCmd.GetSteppablePipeline($myInvocation.CommandOrigin)
        $steppablePipeline.Begin($PSCmdlet)
    } catch {
        throw
    }
}

process
{
    try {
        $steppablePipeline.Process($_)
    } catch {
        throw
    }
}

end
{
    try {
        $steppablePipeline.End()
    } catch {
        throw
    }
}
<#

.ForwardHelpTargetName Microsoft.PowerShell.Core\\Out-Default
.ForwardHelpCategory Cmdlet

#>
";

    #[test]
    fn scripts_of_the_engine_are_known_whole() {
        assert!(is_engine_script(" prompt\r\n") && is_engine_script("$global:?"));
        assert!(
            !is_engine_script("prompt; whoami") && !is_engine_script("function prompt { whoami }")
        );
        assert!(is_engine_script("{ Set-StrictMode -Version 1; $_.OriginInfo }"));
        assert!(!is_engine_script("{ Set-StrictMode -Version 1; $_.OriginInfo; whoami }"));
    }

    #[test]
    fn proxies_are_known_whole() {
        assert!(is_engine_script(PROXY));
        let changed = |from: &str, to: &str| {
            assert!(PROXY.contains(from), "{from}");
            is_engine_script(&PROXY.replace(from, to))
        };
        assert!(!changed("Core\\Out-Default', [", "Core\\Invoke-Expression', ["));
        assert!(!changed("$outBuffer = $null", "$outBuffer = $null; whoami"));
        assert!(!changed("${Transcript}", "${Transcript} = (whoami)"));
        assert!(!changed("[ValidateRange(0, 1)]", "[ValidateScript({ whoami })]"));
        assert!(!changed("HelpUri='https", "HelpUri=$(whoami)+'https"));
        assert!(!changed(".ForwardHelpCategory Cmdlet", "#> whoami <#"));
        assert!(!is_engine_script(&format!("{PROXY}whoami")));
    }

    #[test]
    fn invocations_are_the_engines_by_their_parameters() {
        let run = |text: &str, kind| {
            let names = [text.split(' ').next().unwrap().to_owned()];
            is_engine_invocation(&names, text, kind, true)
        };
        assert!(run("Out-Default -InputObject \"a\"", "Cmdlet"));
        assert!(!run("Out-Default", "Function"));
        assert!(run("Get-Command -Name \"Out-Default, Exit-PSSession\"", "Cmdlet"));
        assert!(!run("Get-Command -Name \"evil\"", "Cmdlet"));
        assert!(run("TabExpansion2 -inputScript \"Get-Ch\" -cursorColumn \"6\"", "Function"));
        assert!(!run("TabExpansion2 -options \"x\"", "Function"));
        let piped = ["Get-Date".to_owned(), "Out-Default".to_owned()];
        assert!(!is_engine_invocation(&piped, "Get-Date | Out-Default", "Cmdlet", true));
    }
}
