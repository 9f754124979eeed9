//! `psr-forensics query`: SQL over a run's tables.

#[cfg(feature = "sql")]
mod answer;

use std::path::PathBuf;

use anyhow::Result;

use super::ending::Ending;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Folder with the results of `analyze --format parquet`
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// A query; `SHOW TABLES` names the tables, `psr-forensics schema parquet` their columns
    #[arg(value_name = "SQL")]
    sql: String,
    /// Answer in JSON lines
    #[arg(long)]
    json: bool,
}

pub(super) const EXAMPLES: &str = "A table on a terminal, CSV elsewhere. Examples:
  psr-forensics query results \"SELECT session_id, user, source_ip, target_host FROM sessions\"
  psr-forensics query results \"SELECT host, COUNT(*) AS events FROM timeline GROUP BY host\"
  psr-forensics query results --json \"SELECT time, text FROM commands WHERE role = 'typed'\"";

#[cfg(feature = "sql")]
pub(super) fn run(args: &Args) -> Result<Ending> {
    let answer = crate::query::ResultTables::open(&args.folder)?.query(&args.sql)?;
    answer::print(&answer, args.json)?;
    Ok(Ending::Whole)
}

/// Says how to get a program that knows SQL.
#[cfg(not(feature = "sql"))]
pub(super) fn run(_: &Args) -> Result<Ending> {
    let reason = format!("this build has no SQL: {}", super::remedy::build("sql"));
    Err(crate::error::Error::Sql(reason).into())
}
