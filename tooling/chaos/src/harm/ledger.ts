import { appendFileSync, readFileSync } from 'node:fs'

/** A line of the file that LEDGER names. Its place in the file is its time. */
export interface Entry {
  readonly what: string
  readonly pid?: number
  /** Milliseconds, for people. */
  readonly at?: number
  readonly job?: string
  /** The process that something was done to. */
  readonly worker?: number
}

/** Appends a line at once, so that it is there even if this process is killed in its next step. */
export function note(what: string, details?: object): void {
  const entry = { what, ...details, pid: process.pid, at: Date.now() }
  appendFileSync(process.env.LEDGER!, `${JSON.stringify(entry)}\n`)
}

export function readLedger<T extends Entry>(): T[] {
  const lines = readFileSync(process.env.LEDGER!, 'utf8').trim().split('\n')
  return lines.map((line) => JSON.parse(line) as T)
}
