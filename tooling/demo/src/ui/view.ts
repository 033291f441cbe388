import type { Snapshot } from '../database/snapshot.js'
import type { Kill } from '../kill.js'
import { colorsFor } from './colors.js'
import { LineView } from './line-view.js'
import { LiveView } from './live-view.js'

/** How things stand at one moment. */
export interface Picture {
  readonly snapshot: Snapshot
  readonly jobs: number
  readonly kill: Kill | undefined
  readonly holdfast: boolean
}

/** Shows a person what happens. */
export interface View {
  /** Something happened. */
  event(text: string): void
  /** Something bad happened, on purpose. */
  alarm(text: string): void
  /** Something was put right. */
  good(text: string): void
  /** So far so good: only worth a line where nothing moves. */
  progress(text: string): void
  show(picture: Picture): void
  /** Nothing moves any more; what was shown stays. */
  close(): void
}

/** A live picture on a terminal that can move its cursor, plain lines elsewhere. */
export function openView(stream: NodeJS.WriteStream, env: NodeJS.ProcessEnv = process.env): View {
  const colors = colorsFor(stream, env)
  return stream.isTTY && env.TERM !== 'dumb' ? new LiveView(stream, colors) : new LineView(stream, colors)
}
