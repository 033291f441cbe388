import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface Entry {
  readonly what: 'start' | 'finish' | 'aborted' | 'completed' | 'failed' | 'error'
  readonly job: string
  readonly pid: number
  readonly detail?: unknown
}

/** What processors did, in a file: it outlives processes, Redis and the database. And gates that let them end. */
export class Ledger {
  static create(): Ledger {
    return new Ledger(mkdtempSync(join(tmpdir(), 'holdfast-ledger-')))
  }

  constructor(readonly folder: string) {
    appendFileSync(this.#file, '')
  }

  get #file(): string {
    return join(this.folder, 'ledger')
  }

  note(entry: Omit<Entry, 'pid'>): void {
    appendFileSync(this.#file, `\n${JSON.stringify({ ...entry, pid: process.pid })};\n`)
  }

  entries(what?: Entry['what'], job?: string): Entry[] {
    const lines = readFileSync(this.#file, 'utf8').split('\n')
    // Without its end, a line is still being written, or its writer was killed over it.
    const entries = lines
      .filter((line) => line.endsWith(';'))
      .map((line) => JSON.parse(line.slice(0, -1)) as Entry)
    return entries.filter(
      (entry) => (what === undefined || entry.what === what) && (job === undefined || entry.job === job),
    )
  }

  openGate(name: string): void {
    writeFileSync(join(this.folder, `gate-${name}`), '')
  }

  isOpen(name: string): boolean {
    return existsSync(join(this.folder, `gate-${name}`))
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true })
  }
}
