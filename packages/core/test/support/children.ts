import { Child } from '@holdfast/chaos'

/** Children of a test that end with it. */
export class Children implements AsyncDisposable {
  readonly #all: Child[] = []

  start(script: string, options: unknown): Child {
    const child = new Child(new URL(script, import.meta.url), { options })
    this.#all.push(child)
    return child
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#all.map((child) => child[Symbol.asyncDispose]()))
  }
}
