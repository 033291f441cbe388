import { transactionCases } from './support/transaction-cases.js'

transactionCases('handed')
