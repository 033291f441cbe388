import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { harmUnderLoad } from './harm-under-load.js'
import type { Outcome, Scene } from './scene.js'
import { Screen } from './screen.js'
import { shortTimes } from './short-times.js'

export interface Chaos {
  /** The monitor's options. */
  readonly monitor: ReturnType<typeof shortTimes>
  log(text: string): void
  /** What is to be done in the end, also when someone interrupts. */
  atEnd(stop: () => Promise<void>): void
}

/**
 * Runs a chaos script: `--seconds` of harm, told as it is done, and in the end its outcome as one line of JSON, which
 * `--json` leaves alone on stdout. Exits with 1 when there was no job, or one that was lost or doubled.
 */
export async function runChaos(prepare: (chaos: Chaos) => Promise<Scene>): Promise<void> {
  const { values } = parseArgs({
    options: { seconds: { type: 'string', default: '60' }, json: { type: 'boolean', default: false } },
  })
  const seconds = Number(values.seconds)
  if (!(seconds > 0)) throw new Error(`--seconds must be a number above 0: ${values.seconds}`)
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-chaos-'))
  process.env.LEDGER ??= join(folder, 'ledger')
  const screen = new Screen(values.json ? process.stderr : process.stdout)
  const log = (text: string): void => screen.event(text)

  let stop = async (): Promise<void> => undefined
  let stopping: Promise<void> | undefined
  const end = (): Promise<void> => (stopping ??= stop())
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    // The other processes go along.
    process.once(signal, () => end().finally(() => process.exit(130)))
  }
  const atEnd = (last: () => Promise<void>): void => {
    stop = last
  }
  const monitor = shortTimes()
  let outcome: Outcome
  try {
    const scene = await prepare({ monitor, log, atEnd })
    await harmUnderLoad(scene, { seconds, lease: monitor.orphanThreshold, screen })
    outcome = await scene.judge()
  } finally {
    await end()
  }
  const ok = outcome.jobs > 0 && outcome.lost === 0 && outcome.doubled === 0
  if (ok) rmSync(folder, { recursive: true })
  else log(`the ledger is ${process.env.LEDGER}`)
  screen.close()
  console.log(JSON.stringify(outcome))
  process.exitCode = ok ? 0 : 1
}
