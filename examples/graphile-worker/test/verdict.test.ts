import { describe, expect, it } from 'vitest'
import { judge } from '../chaos/verdict.js'

interface Entry {
  readonly what: string
  readonly at?: number
  readonly monitor?: { heartbeatInterval: number; orphanThreshold: number }
  readonly job?: string
  readonly worker?: number
  readonly pid?: number
}

const began: Entry = { what: 'began', monitor: { heartbeatInterval: 500, orphanThreshold: 2_000 } }
const added: Entry = { what: 'added', job: 'a' }
const over: Entry = { what: 'over', job: 'a' }
const started = (pid: number): Entry => ({ what: 'started', job: 'a', pid })
const around = (from: string, to: string) => (worker: number) => [
  { what: from, worker },
  { what: to, worker },
]
const killed = around('killing', 'killed')
const paused = around('pausing', 'resumed')
const stopped = around('stopping', 'stopped')
const outage: Entry[] = [{ what: 'outage' }, { what: 'outageOver' }]

/** Of entries about job `a`, with what the database has of it in the end. */
function verdict(
  entries: readonly Entry[],
  end: { over?: 0; answeredTwice?: 1; quarantined?: 1; stuck?: 1 } = {},
): string {
  const list = (isListed: boolean): string[] => (isListed ? ['a'] : [])
  const { lost, doubled } = judge([
    ...[began, added, ...entries],
    {
      what: 'judged',
      over: list(end.over === undefined),
      answeredTwice: list(end.answeredTwice !== undefined),
      quarantined: list(end.quarantined !== undefined),
      stuck: list(end.stuck !== undefined),
    },
  ])
  return [...lost.map(() => 'lost'), ...doubled.map(() => 'doubled')].join(' and ')
}

it('a job that ran once is neither lost nor doubled', () => {
  expect(verdict([started(1), over])).toBe('')
})

it('what ran before its producer knew that it was added counts', () => {
  const judged = { what: 'judged', over: ['a'], answeredTwice: [], quarantined: [], stuck: [] }
  expect(judge([began, started(1), added, started(2), over, judged]).doubled).toEqual(['a'])
})

it('a job that is not over in the end is lost, unless it is in quarantine', () => {
  expect(verdict([], { over: 0 })).toBe('lost')
  expect(verdict([started(1), ...killed(1)], { over: 0 })).toBe('lost')
  expect(verdict([started(1), ...killed(1)], { over: 0, quarantined: 1 })).toBe('')
})

it('a job that was over and is there again, or has a row still, is lost', () => {
  expect(verdict([started(1), over], { over: 0 })).toBe('lost')
  expect(verdict([started(1), over], { stuck: 1 })).toBe('lost')
})

it('nothing excuses a second answer', () => {
  expect(verdict([started(1), ...killed(1), ...outage, started(2), over], { answeredTwice: 1 })).toBe(
    'doubled',
  )
})

describe('a second run', () => {
  const second = [started(2), over]

  it('needs harm to the very process of the first, or an outage', () => {
    for (const harm of [killed(1), paused(1), stopped(1), outage]) {
      expect(verdict([started(1), ...harm, ...second])).toBe('')
    }
    expect(verdict([started(1), ...second])).toBe('doubled')
    expect(verdict([started(1), ...killed(3), ...second])).toBe('doubled')
    expect(verdict([started(1), started(1), over])).toBe('doubled')
  })

  it('needs harm that lasts when the first begins, or comes later', () => {
    expect(verdict([...paused(1), started(1), ...second])).toBe('doubled')
    expect(verdict([...outage, started(1), ...second])).toBe('doubled')
    expect(verdict([outage[0]!, started(1), outage[1]!, ...second])).toBe('')
    expect(verdict([started(1), outage[0]!, ...second])).toBe('')
    expect(verdict([started(1), ...second, ...killed(1)])).toBe('doubled')
  })

  it('may come of a machine that is too busy, when even the pulse is late', () => {
    const pulse = (took: number): Entry[] => [
      { what: 'beating', at: 0 },
      { what: 'beat', at: took },
    ]
    expect(verdict([started(1), ...pulse(600), ...second])).toBe('doubled')
    expect(verdict([started(1), ...pulse(1_000), ...second])).toBe('')
    expect(verdict([...pulse(1_000), { ...started(1), at: 2_900 }, { ...started(2), at: 3_100 }, over])).toBe(
      '',
    )
    expect(verdict([...pulse(1_000), { ...started(1), at: 3_100 }, { ...started(2), at: 3_200 }, over])).toBe(
      'doubled',
    )
  })

  it('needs an excuse for each run before it', () => {
    expect(verdict([started(1), ...killed(1), started(2), started(3), over])).toBe('doubled')
    expect(verdict([started(1), ...killed(1), started(2), ...killed(2), started(3), over])).toBe('')
  })

  it('has no excuse once the job is over', () => {
    expect(verdict([started(1), over, ...killed(1), ...outage, started(2)])).toBe('doubled')
  })
})
