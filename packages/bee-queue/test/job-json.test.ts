import { describe, expect, it } from 'vitest'
import { failedJob, withoutPastDelay } from '../src/job-json.js'

/** What JavaScript can't hold, or would write otherwise. */
const DATA = String.raw`{"big":12345678901234567890,"huge":1e400,"zero":-0,"e":1.50,"lone":"\ud800","nul":"\u0000","twice":1,"twice":2,"2":0,"1":{"delay":5,"options":{"delay":7}},"text":"a\"}],{\\","deep":[[],[{}],{"a":[1,2]}]}`

const job = (options: string, status = '"created"') =>
  `{"data":${DATA},"options":${options},"status":${status},"progress":{"unknown":[1.0]}}`

describe('the text of a job', () => {
  it('loses a delay that is over, and nothing else', () => {
    const before = job('{"timestamp":1,"delay":1000,"stacktraces":["a\\"delay\\":1"],"mine":{"delay":1}}')
    const after = job('{"timestamp":1,"stacktraces":["a\\"delay\\":1"],"mine":{"delay":1}}')
    expect(withoutPastDelay(before, 1_000)).toBe(after)
    expect(withoutPastDelay(job('{"delay":1000}'), 1_000)).toBe(job('{}'))
  })

  it('keeps a delay that is to come, and is the same without one', () => {
    expect(withoutPastDelay(job('{"delay":1001}'), 1_000)).toBe(job('{"delay":1001}'))
    expect(withoutPastDelay(job('{"retries":1}'), 1_000)).toBe(job('{"retries":1}'))
  })

  it('as failed has the reason in front, its retries, and its data to the byte', () => {
    const reason = 'said "no"\n\ud800'
    expect(failedJob(job('{"retries":3,"stacktraces":["old"],"x":1.0}'), reason)).toBe(
      job(`{"retries":3,"stacktraces":[${JSON.stringify(reason)},"old"],"x":1.0}`, '"failed"'),
    )
    expect(failedJob(job('{"stacktraces":[]}'), 'r')).toBe(job('{"stacktraces":["r"]}', '"failed"'))
  })

  it('may be large', () => {
    const text = `{"data":"${'x\\"'.repeat(2_000_000)}","options":{"delay":1},"status":"created"}`
    expect(withoutPastDelay(text, 2)).toBe(text.replace('{"delay":1}', '{}'))
  })
})
