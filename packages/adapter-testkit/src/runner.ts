type Body = () => void | Promise<void>

/**
 * What the kit needs of a test runner: vitest's and Jest's functions as they are, of `node:test`
 * `{ describe, it, beforeAll: before, afterAll: after }`.
 */
export interface TestRunner {
  describe(name: string, body: () => void): unknown
  /** @param timeout milliseconds, for runners that have a limit by default */
  it(name: string, body: Body, timeout?: number): unknown
  beforeAll(body: Body, timeout?: number): unknown
  afterAll(body: Body, timeout?: number): unknown
}

/** Milliseconds that one test or set-up may take. */
export const TIMEOUT = 120_000
