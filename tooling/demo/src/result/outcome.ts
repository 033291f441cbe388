/** How a demo ended. */
export interface Outcome {
  readonly ok: boolean
  /** In one sentence. */
  readonly headline: string
  /** For people: lines of at most 80 characters. */
  readonly summary: readonly string[]
  /** What the workers wrote to stderr, if this is of use to anybody. */
  readonly complaints: string
  /** For machines: one line. */
  readonly json: Readonly<Record<string, unknown>>
}
