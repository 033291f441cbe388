import { setTimeout as delay } from 'node:timers/promises'
import { start } from './start.js'

/** The workers. Each one that ends is started again at once, as a supervisor would. */
export class Fleet {
  #env
  #log
  #ending = false
  #slots

  constructor(size, env, log) {
    this.#env = env
    this.#log = log
    this.#slots = Array.from({ length: size }, () => this.#keepUp({}))
  }

  /** Those that nobody harms at the moment. */
  get unharmed() {
    return this.#slots.filter(({ harmed, child }) => !harmed && isAlive(child))
  }

  async stop() {
    this.#ending = true
    await Promise.all(
      this.#slots.map(async ({ child }) => {
        child.process.kill('SIGTERM')
        const late = delay(20_000, 'late', { ref: false })
        if ((await Promise.race([child.exited, late])) !== 'late') return
        this.#log(`worker ${child.pid} did not stop within 20 s. It wrote:\n${child.output}`)
        await child.kill()
      }),
    )
  }

  #keepUp(slot) {
    slot.child = start('worker.js', this.#env)
    slot.harmed = false
    const { child } = slot
    void child.exited.then(async ({ code }) => {
      if (this.#ending) return
      // One that starts while Redis is away ends at once; any other end by itself is a fault.
      if (!slot.harmed) {
        this.#log(`worker ${child.pid} ended by itself (${code}): ${firstError(child.output)}`)
        await delay(200)
      }
      this.#keepUp(slot)
    })
    return slot
  }
}

const isAlive = (child) => child.process.exitCode === null && child.process.signalCode === null

const firstError = (text) => text.split('\n').find((line) => /Error:/.test(line)) ?? text
