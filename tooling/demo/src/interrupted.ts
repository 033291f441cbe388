/** Ctrl-C or the like: the demo ends early and cleans up. */
export class Interrupted extends Error {
  constructor(readonly signal: NodeJS.Signals) {
    super(`Interrupted by ${signal}`)
    this.name = 'Interrupted'
  }
}
