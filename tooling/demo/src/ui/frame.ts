import Table from 'cli-table3'
import type { WorkerState } from '../database/snapshot.js'
import type { Colors } from './colors.js'
import type { Picture } from './view.js'
import { type Tone, workerState } from './worker-state.js'

export interface Canvas {
  readonly columns: number
  readonly rows: number
  readonly colors: Colors
}

const HEAD = ['worker', 'pid', 'state', 'in flight', 'finished']
/** Widths with their padding; what the terminal has beyond the others goes to the state. */
const WIDTHS = { worker: 10, pid: 10, inFlight: 11, finished: 10 }
const STATE = { min: 12, max: 40 }
const BORDERS = HEAD.length + 1
const FIXED = WIDTHS.worker + WIDTHS.pid + WIDTHS.inFlight + WIDTHS.finished + BORDERS
const NARROWEST = FIXED + STATE.min
/** No lines between the rows. */
const CHARS = { mid: '', 'left-mid': '', 'mid-mid': '', 'right-mid': '' }

/** The lines that are drawn anew all the time: a table of the workers, where there is room for it, and a bar. */
export function draw(picture: Picture, canvas: Canvas): string[] {
  const full = ['', ...table(picture, canvas), bar(picture, canvas), '']
  return canvas.columns > NARROWEST && canvas.rows > full.length ? full : [bar(picture, canvas)]
}

function table(picture: Picture, { columns, colors }: Canvas): string[] {
  const state = Math.max(STATE.min, Math.min(STATE.max, columns - 1 - FIXED))
  const grid = new Table({
    chars: CHARS,
    head: HEAD.map((title) => colors.bold(title)),
    colWidths: [WIDTHS.worker, WIDTHS.pid, state, WIDTHS.inFlight, WIDTHS.finished],
    colAligns: ['left', 'right', 'left', 'right', 'right'],
    // Its own colours don't know about NO_COLOR.
    style: { head: [], border: [] },
  })
  for (const worker of picture.snapshot.workers) grid.push(row(worker, picture, colors))
  return grid.toString().split('\n')
}

function row(worker: WorkerState, picture: Picture, colors: Colors): string[] {
  const { text, tone } = workerState(worker, picture)
  const paint: Record<Tone, (text: string) => string> = {
    good: colors.green,
    waiting: colors.yellow,
    bad: colors.red,
  }
  const inFlight = String(worker.inFlight)
  return [
    worker.worker,
    String(worker.pid),
    paint[tone](text),
    tone !== 'good' && worker.inFlight > 0 ? colors.red(inFlight) : inFlight,
    String(worker.finished),
  ]
}

function bar({ snapshot, jobs }: Picture, { columns, colors }: Canvas): string {
  const { finished, inFlight, waiting } = snapshot
  const text = ` ${finished}/${jobs} finished, ${inFlight} in flight, ${waiting} waiting`
  const room = Math.min(40, columns - 1 - text.length)
  if (room < 5) return text.trimStart().slice(0, columns - 1)
  const full = Math.floor((room * finished) / jobs)
  const begun = Math.min(room - full, Math.ceil((room * inFlight) / jobs))
  return (
    colors.green('█'.repeat(full)) +
    colors.yellow('▒'.repeat(begun)) +
    colors.dim('░'.repeat(room - full - begun)) +
    text
  )
}
