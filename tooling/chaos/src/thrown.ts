/** What handlers throw that is no Error as one expects it. */
export type Thrown = 'an object' | 'undefined' | 'no text' | 'a number as message' | 'a symbol' | 'a cycle'

export function thrown(kind: Thrown): unknown {
  switch (kind) {
    case 'an object':
      return { code: 42 }
    case 'undefined':
      return undefined
    case 'no text':
      return {
        code: 42,
        get message() {
          throw new Error('no message')
        },
        toString() {
          throw new Error('no text')
        },
      }
    case 'a number as message':
      return Object.assign(new Error(), { message: 42n })
    case 'a symbol':
      return Symbol('42')
    case 'a cycle': {
      const cycle: Record<string, unknown> = { code: 42 }
      cycle.self = cycle
      return Object.assign(new Error(), { message: cycle })
    }
  }
}
