/** The work of every job: a call that takes its time. */
export type SlowCall = (job: number, signal: AbortSignal) => Promise<void>

export const slowCallTo =
  (server: string): SlowCall =>
  async (job, signal) => {
    const response = await fetch(`${server}/jobs/${job}`, { signal })
    const body = await response.text()
    if (!response.ok) throw new Error(`${response.status} for job ${job}: ${body}`)
  }
