/**
 * Generated from records.proto by scripts/generate-records.ts: do not edit.
 */
export const RECORDS_DESCRIPTOR = {
  "nested": {
    "godwit": {
      "nested": {
        "StoredRecord": {
          "oneofs": {
            "kind": {
              "oneof": [
                "reservation",
                "lastNonce",
                "registration",
                "subscription",
                "pendingNotify",
                "ownLocators",
                "workload",
                "groupReceiver",
                "describedRegistration"
              ]
            }
          },
          "fields": {
            "reservation": {
              "type": "Reservation",
              "id": 1
            },
            "lastNonce": {
              "type": "LastNonce",
              "id": 2,
              "protoName": "last_nonce"
            },
            "registration": {
              "type": "Registration",
              "id": 3
            },
            "subscription": {
              "type": "Subscription",
              "id": 4
            },
            "pendingNotify": {
              "type": "PendingNotify",
              "id": 5,
              "protoName": "pending_notify"
            },
            "ownLocators": {
              "type": "OwnLocators",
              "id": 6,
              "protoName": "own_locators"
            },
            "workload": {
              "type": "Workload",
              "id": 7
            },
            "groupReceiver": {
              "type": "GroupReceiver",
              "id": 8,
              "protoName": "group_receiver"
            },
            "describedRegistration": {
              "type": "DescribedRegistration",
              "id": 9,
              "protoName": "described_registration"
            }
          }
        },
        "Reservation": {
          "fields": {
            "scope": {
              "type": "string",
              "id": 1
            },
            "ceiling": {
              "type": "bytes",
              "id": 2
            }
          }
        },
        "LastNonce": {
          "fields": {
            "sender": {
              "type": "string",
              "id": 1
            },
            "nonce": {
              "type": "bytes",
              "id": 2
            }
          }
        },
        "Registration": {
          "fields": {
            "site": {
              "type": "string",
              "id": 1
            },
            "eidPrefix": {
              "type": "EidPrefix",
              "id": 2,
              "protoName": "eid_prefix"
            },
            "owner": {
              "type": "string",
              "id": 3
            },
            "ownerRlocs": {
              "rule": "repeated",
              "type": "bytes",
              "id": 4,
              "protoName": "owner_rlocs"
            },
            "mapVersion": {
              "type": "uint32",
              "id": 5,
              "protoName": "map_version"
            },
            "locators": {
              "rule": "repeated",
              "type": "Locator",
              "id": 6
            },
            "action": {
              "type": "uint32",
              "id": 7
            },
            "ttlMinutes": {
              "type": "uint32",
              "id": 8,
              "protoName": "ttl_minutes"
            },
            "proxyReply": {
              "type": "bool",
              "id": 9,
              "protoName": "proxy_reply"
            },
            "wantMapNotify": {
              "type": "bool",
              "id": 10,
              "protoName": "want_map_notify"
            },
            "expiresAt": {
              "type": "double",
              "id": 11,
              "protoName": "expires_at"
            },
            "merge": {
              "type": "bool",
              "id": 12
            },
            "securityCapable": {
              "type": "bool",
              "id": 13,
              "protoName": "security_capable"
            }
          }
        },
        "Subscription": {
          "fields": {
            "xtrId": {
              "type": "string",
              "id": 1,
              "protoName": "xtr_id"
            },
            "siteId": {
              "type": "bytes",
              "id": 2,
              "protoName": "site_id"
            },
            "eidPrefix": {
              "type": "EidPrefix",
              "id": 3,
              "protoName": "eid_prefix"
            },
            "itrRlocs": {
              "rule": "repeated",
              "type": "bytes",
              "id": 4,
              "protoName": "itr_rlocs"
            },
            "keyOwner": {
              "type": "string",
              "id": 5,
              "protoName": "key_owner"
            },
            "keyId": {
              "type": "uint32",
              "id": 6,
              "protoName": "key_id"
            },
            "algorithm": {
              "type": "uint32",
              "id": 7
            },
            "secret": {
              "type": "bytes",
              "id": 8
            },
            "authenticationLength": {
              "type": "uint32",
              "id": 9,
              "protoName": "authentication_length"
            },
            "askedNonce": {
              "type": "bytes",
              "id": 10,
              "protoName": "asked_nonce"
            },
            "nonceCeiling": {
              "type": "bytes",
              "id": 11,
              "protoName": "nonce_ceiling"
            },
            "removed": {
              "type": "bool",
              "id": 12
            },
            "suppresses": {
              "type": "bool",
              "id": 13
            },
            "temporary": {
              "type": "bool",
              "id": 14
            },
            "expiresAt": {
              "type": "double",
              "id": 15,
              "protoName": "expires_at"
            }
          }
        },
        "PendingNotify": {
          "fields": {
            "eidPrefix": {
              "type": "EidPrefix",
              "id": 1,
              "protoName": "eid_prefix"
            },
            "owner": {
              "type": "string",
              "id": 2
            },
            "homeRlocs": {
              "rule": "repeated",
              "type": "bytes",
              "id": 3,
              "protoName": "home_rlocs"
            },
            "otherRlocs": {
              "rule": "repeated",
              "type": "bytes",
              "id": 4,
              "protoName": "other_rlocs"
            },
            "keyId": {
              "type": "uint32",
              "id": 5,
              "protoName": "key_id"
            }
          }
        },
        "OwnLocators": {
          "fields": {
            "locators": {
              "rule": "repeated",
              "type": "Locator",
              "id": 1
            },
            "senders": {
              "rule": "repeated",
              "type": "Sender",
              "id": 2
            },
            "expiresAt": {
              "type": "double",
              "id": 3,
              "protoName": "expires_at"
            }
          }
        },
        "Workload": {
          "fields": {
            "workloadId": {
              "type": "string",
              "id": 1,
              "protoName": "workload_id"
            },
            "name": {
              "type": "string",
              "id": 2
            },
            "ovf": {
              "type": "bool",
              "id": 3
            },
            "eids": {
              "rule": "repeated",
              "type": "Eid",
              "id": 4
            }
          }
        },
        "Eid": {
          "fields": {
            "instanceId": {
              "type": "uint32",
              "id": 1,
              "protoName": "instance_id"
            },
            "address": {
              "type": "bytes",
              "id": 2
            }
          }
        },
        "GroupReceiver": {
          "fields": {
            "name": {
              "type": "string",
              "id": 1
            },
            "owner": {
              "type": "string",
              "id": 2
            },
            "address": {
              "type": "bytes",
              "id": 3
            },
            "level": {
              "type": "uint32",
              "id": 4
            },
            "nonce": {
              "type": "bytes",
              "id": 5
            },
            "target": {
              "type": "bytes",
              "id": 6
            },
            "site": {
              "type": "string",
              "id": 7
            },
            "keyId": {
              "type": "uint32",
              "id": 8,
              "protoName": "key_id"
            },
            "authenticationLength": {
              "type": "uint32",
              "id": 9,
              "protoName": "authentication_length"
            },
            "below": {
              "type": "string",
              "id": 10
            }
          }
        },
        "DescribedRegistration": {
          "fields": {
            "site": {
              "type": "string",
              "id": 1
            },
            "name": {
              "type": "string",
              "id": 2
            },
            "owner": {
              "type": "string",
              "id": 3
            },
            "source": {
              "type": "bytes",
              "id": 4
            },
            "keyId": {
              "type": "uint32",
              "id": 5,
              "protoName": "key_id"
            },
            "proxyReply": {
              "type": "bool",
              "id": 6,
              "protoName": "proxy_reply"
            },
            "record": {
              "type": "bytes",
              "id": 7
            },
            "expiresAt": {
              "type": "double",
              "id": 8,
              "protoName": "expires_at"
            }
          }
        },
        "Sender": {
          "fields": {
            "eidPrefix": {
              "type": "EidPrefix",
              "id": 1,
              "protoName": "eid_prefix"
            },
            "rloc": {
              "type": "bytes",
              "id": 2
            }
          }
        },
        "EidPrefix": {
          "fields": {
            "instanceId": {
              "type": "uint32",
              "id": 1,
              "protoName": "instance_id"
            },
            "address": {
              "type": "bytes",
              "id": 2
            },
            "maskLength": {
              "type": "uint32",
              "id": 3,
              "protoName": "mask_length"
            }
          }
        },
        "Locator": {
          "fields": {
            "rloc": {
              "type": "bytes",
              "id": 1
            },
            "priority": {
              "type": "uint32",
              "id": 2
            },
            "weight": {
              "type": "uint32",
              "id": 3
            },
            "multicastPriority": {
              "type": "uint32",
              "id": 4,
              "protoName": "multicast_priority"
            },
            "multicastWeight": {
              "type": "uint32",
              "id": 5,
              "protoName": "multicast_weight"
            },
            "local": {
              "type": "bool",
              "id": 6
            },
            "probe": {
              "type": "bool",
              "id": 7
            },
            "reachable": {
              "type": "bool",
              "id": 8
            },
            "structure": {
              "type": "bytes",
              "id": 9
            }
          }
        }
      }
    }
  }
}
