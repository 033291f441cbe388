import type { Kind } from '../database/enqueue.js'
import type { HeldJob } from '../database/held.js'

export const seconds = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`

export const count = (n: number, one: string): string => `${n} ${one}${n === 1 ? '' : 's'}`

/** `41 jobs: 20 guard, 21 hand-off` */
export function jobsByKind(held: readonly HeldJob[]): string {
  const of = (kind: Kind): number => held.filter((job) => job.kind === kind).length
  return `${count(held.length, 'job')}: ${of('guard')} guard, ${of('handOff')} hand-off`
}

const WIDTH = 80

/** Breaks a text into lines that fit any terminal. */
export function wrap(text: string): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > WIDTH) {
      lines.push(line)
      line = ''
    }
    line = line === '' ? word : `${line} ${word}`
  }
  return [...lines, line]
}
