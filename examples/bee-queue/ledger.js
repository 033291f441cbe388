// Where LEDGER names a file, what happened is written there for chaos.js to judge by. Yours can do without.
import { appendFileSync } from 'node:fs'

/** Appends a line at once, so that it is there even if this process is killed in its next step. */
export function note(what, details) {
  if (!process.env.LEDGER) return
  const entry = { what, ...details, pid: process.pid, at: Date.now() }
  appendFileSync(process.env.LEDGER, `${JSON.stringify(entry)}\n`)
}
