import { stripVTControlCharacters } from 'node:util'
import { describe, expect, test } from 'vitest'
import { wrap } from '../src/result/words.js'
import { colorsFor } from '../src/ui/colors.js'
import { draw } from '../src/ui/frame.js'
import { openView, type Picture } from '../src/ui/view.js'

const worker = (n: number, inFlight: number) => ({
  worker: `worker ${n}`,
  pid: 4_194_300 + n,
  inFlight,
  finished: 1_000 + n,
  processId: `host:${n}:x`,
  state: 'alive',
  leaseMs: 1_234,
})

const picture: Picture = {
  snapshot: {
    workers: [worker(1, 40), worker(2, 41), worker(3, 42)],
    finished: 3_006,
    inFlight: 123,
    waiting: 6_871,
    quietMs: 10,
  },
  jobs: 10_000,
  kill: { worker: 'worker 2', pid: 4_194_302, processId: 'host:2:x', at: 0, held: [] },
  holdfast: true,
}

function terminal({ isTTY = true, columns = 80, rows = 24 } = {}) {
  const written: string[] = []
  const stream = { isTTY, columns, rows, write: (text: string) => written.push(text) }
  return { stream: stream as unknown as NodeJS.WriteStream, output: () => written.join('') }
}

describe('the live picture', () => {
  test.each([200, 100, 80, 70, 60, 50, 30])('fits a terminal of %i columns', (columns) => {
    const { stream } = terminal()
    const lines = draw(picture, { columns, rows: 24, colors: colorsFor(stream, {}) })
    for (const line of lines) expect(stripVTControlCharacters(line).length).toBeLessThan(columns)
  })

  test('says of each worker how it is, what it holds and what it has finished', () => {
    const { stream } = terminal()
    const text = draw(picture, { columns: 80, rows: 24, colors: colorsFor(stream, { NO_COLOR: '1' }) }).join(
      '\n',
    )
    expect(text).toMatch(/worker 1 .* alive +│ +40 │ +1001 /)
    expect(text).toMatch(/worker 2 .* killed, lease ends in 1\.2 s +│ +41 │ +1002 /)
    expect(text).toContain('3006/10000 finished, 123 in flight, 6871 waiting')
  })

  test('is only a bar where the terminal is too low for a table', () => {
    const { stream } = terminal()
    expect(draw(picture, { columns: 80, rows: 8, colors: colorsFor(stream, {}) })).toHaveLength(1)
  })
})

describe('on a terminal', () => {
  test('events stay above the picture, and the cursor comes back', () => {
    const { stream, output } = terminal()
    const view = openView(stream, {})
    view.show(picture)
    view.event('something happened')
    view.close()
    const event = output().indexOf('something happened')
    expect(output().indexOf('worker 1')).toBeLessThan(event)
    expect(output().lastIndexOf('worker 1')).toBeGreaterThan(event)
    expect(output().endsWith('\x1b[?25h')).toBe(true)
  })

  test('NO_COLOR takes the colours away and leaves the rest', () => {
    const show = (env: NodeJS.ProcessEnv): string => {
      const { stream, output } = terminal()
      const view = openView(stream, env)
      view.alarm('alarm')
      view.show(picture)
      view.close()
      return output()
    }
    // biome-ignore lint/suspicious/noControlCharactersInRegex: that is how colours begin
    const color = /\x1b\[\d*m/
    expect(show({})).toMatch(color)
    expect(show({ NO_COLOR: '1' })).not.toMatch(color)
    expect(show({ NO_COLOR: '1' })).toContain('worker 2')
  })
})

test.each([
  ['a pipe', { isTTY: false }, {}],
  ['a dumb terminal', { isTTY: true }, { TERM: 'dumb' }],
])('on %s there are plain lines and no picture', (_, options, env) => {
  const { stream, output } = terminal(options)
  const view = openView(stream, env)
  view.event('one')
  view.show(picture)
  view.progress('two')
  view.close()
  expect(output()).toMatch(/^ {2}0\.0 s {2}one\n {2}0\.0 s {2}two\n$/)
})

test('long texts are broken at 80 characters', () => {
  const lines = wrap('word '.repeat(60).trim())
  expect(Math.max(...lines.map(({ length }) => length))).toBeLessThanOrEqual(80)
  expect(lines.join(' ')).toBe('word '.repeat(60).trim())
})
