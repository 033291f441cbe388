type Body = () => void | Promise<void>

// biome-ignore lint/suspicious/noExplicitAny: what runners take there differs
type Timeout = any[]

/**
 * What the kit needs of a test runner: vitest's and Jest's functions as they are, of `node:test`
 * `{ describe, it, beforeAll: before, afterAll: after }`.
 */
export interface TestRunner {
  describe(name: string, body: () => void): unknown
  /** @param timeout milliseconds, for runners that have a limit by default; the others see nothing in a number */
  it(name: string, body: Body, ...timeout: Timeout): unknown
  beforeAll(body: Body, ...timeout: Timeout): unknown
  afterAll(body: Body, ...timeout: Timeout): unknown
}

/** Milliseconds after which a test or set-up hangs: what it waits for has limits of its own, which go by the load. */
export const TIMEOUT = 600_000
