/** Holds whoever comes until it is opened. */
export class Gate {
  readonly #opened: Promise<void>
  readonly arrived: Promise<void>
  open!: () => void
  #arrive!: () => void

  constructor() {
    this.#opened = new Promise((resolve) => {
      this.open = resolve
    })
    this.arrived = new Promise((resolve) => {
      this.#arrive = resolve
    })
  }

  reached(): Promise<void> {
    this.#arrive()
    return this.#opened
  }
}
